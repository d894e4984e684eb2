"""Everything done *to* RecBole 1.2.1: one function a defect, each naming the upstream line.

Nothing happens until :func:`apply_fixes` or :func:`register` is called; both may be called again at no cost.
"""

from __future__ import annotations

__all__ = ["apply_fixes", "register", "require_recbole"]


def require_recbole() -> None:
    """Raise :class:`~recbole_hiersrec.errors.HierSRecError` with the pip command unless RecBole 1.2.1 is there."""
    from recbole_hiersrec.compat import process

    process.require_recbole()


def apply_fixes() -> None:
    """Mend RecBole in this process, without registering our models.

    Raises:
        HierSRecError: RecBole, or something it needs, is not installed.
    """
    from recbole_hiersrec.compat import process

    process.require_recbole()
    process.numpy_aliases()
    process.import_without_ray()
    process.anomaly_detection_off()

    # These import RecBole at their top, so they come after it was imported safely.
    from recbole_hiersrec.compat import checkpoints, config, loading, logs, runs, time_order

    config.no_command_line()
    config.default_files()
    config.no_unknown_keys()
    logs.tidy_logs()
    runs.one_folder_a_run()
    checkpoints.safe_checkpoints()
    loading.safe_loading()
    time_order.exact_time_order()


def register() -> None:
    """Mend RecBole and make the models of this package known to it (see :func:`recbole_hiersrec.register`)."""
    apply_fixes()
    from recbole_hiersrec.compat.extensions import register_models

    register_models()
