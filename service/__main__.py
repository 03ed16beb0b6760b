"""`python -m service` is `onrecord`."""

import sys

from service.cli import main

sys.exit(main())
