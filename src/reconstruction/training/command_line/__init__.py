"""The command line: options, help, mistakes in one sentence."""
