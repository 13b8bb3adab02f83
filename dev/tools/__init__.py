"""Commands of dev/run.py that a user or a developer types, each a module with a main()."""
