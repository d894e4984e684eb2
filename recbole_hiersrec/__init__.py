"""HierSRec for RecBole: hierarchical multi-task session-based recommendation, and an honest benchmark.

Importing this package is cheap: neither torch nor RecBole is loaded. Call :func:`register` before using
RecBole.
"""

__version__ = "0.1.0"

__all__ = ["__version__", "register"]


def register() -> None:
    """Mend RecBole 1.2.1 in this process and make the models of this package known to it.

    Afterwards ``run_recbole(model="HierSRec", dataset=...)``, ``Config(model="HierSRec", ...)``,
    ``get_model`` and ``load_data_and_model`` work. Call it first: names that a script took from RecBole
    before stay as they were. Calling it again changes nothing.

    Raises:
        HierSRecError: RecBole, or something it needs, is not installed; the message holds the pip command.
    """
    from recbole_hiersrec.compat import register as register_in_recbole

    register_in_recbole()
