"""Arguments, printing and exit codes; nothing else of the package prints."""
