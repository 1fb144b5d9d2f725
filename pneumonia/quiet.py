"""Keeps the lines that TensorFlow's C++ half prints to the terminal away from it.

It greets before it reads any setting, so ``TF_CPP_MIN_LOG_LEVEL`` alone does not silence it. Import
Keras by ``from pneumonia.backend import keras``, or wrap another import in :func:`stderr_aside`.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

# Lines of absl's log (``I0000 00:00:1795719196.221723   15084 port.cc:153] ...``), of TensorFlow's
# older one, and the two that belong to neither.
_GREETING = re.compile(
    rb"[IWE]\d{4} [\d:.]+ +\d+ |\d{4}-\d\d-\d\d [\d:.]+: [IWE] |WARNING: All log messages before"
    rb" absl::|To enable the following instructions: |INFO: Created TensorFlow Lite"
)


@contextlib.contextmanager
def stderr_aside() -> Iterator[None]:
    """Holds back what the process writes to stderr meanwhile, then passes on all of it but
    TensorFlow's greeting; where the block raises, that too.
    """
    try:
        kept = os.dup(2)
    except OSError:
        # A service without a terminal may have closed it.
        yield
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    failed = False
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            yield
        except BaseException:
            failed = True
            raise
        finally:
            if sys.stderr is not None:
                with contextlib.suppress(OSError, ValueError):
                    sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            aside.seek(0)
            for line in aside:
                if failed or not _GREETING.match(line):
                    with contextlib.suppress(OSError):
                        os.write(2, line)
