"""`python -m policy_engine`: the command line, where its script is not on the path."""

from policy_engine.cli import main

if __name__ == "__main__":
    main(prog_name="policy-engine")
