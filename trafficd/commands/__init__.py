"""One file a subcommand: parse, load, call, print, exit code; no rules inside."""
