"""`python -m cachecore.cli`: the `cachecore` command, where scripts are not on the path."""

from cachecore.cli import main

if __name__ == "__main__":
    main()
