"""The only room that speaks netlink."""
