"""`python -m ftcl_model`."""

from ftcl_model.cli.main import main

if __name__ == "__main__":
    main()
