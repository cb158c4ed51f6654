"""`python -m ftcl_model`."""

import os

if __name__ == "__main__":
    # Read when torch is loaded. A thread that waits for another keeps no core busy then, where the
    # other may itself wait for one, as beside a DataLoader.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from ftcl_model.cli.main import main

    main()
