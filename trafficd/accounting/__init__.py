"""Pure rules, in the order data meets them: no clock, no socket, no log, no await."""
