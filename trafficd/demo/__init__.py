"""A laboratory: nodes on network namespaces of their own, real packets, a fast clock."""
