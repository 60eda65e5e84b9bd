"""The console commands: each composes its configuration, checks it, runs, and says in one message what is wrong."""
