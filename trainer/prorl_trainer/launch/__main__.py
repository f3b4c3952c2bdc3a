"""`python -m prorl_trainer.launch`: the first process of a learner pod."""

import sys

from prorl_trainer.launch.launcher import main

if __name__ == "__main__":
    sys.exit(main())
