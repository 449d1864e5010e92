"""NEXMark: an online auction's events, queries over them, and what DuckDB makes of the same.

The benchmark is Tucker, Tufte, Papadimos and Maier's; its queries 9 to 23 and the generator's
numbers are those of Apache Beam (``sdks/java/testing/nexmark``) and of its successor for Flink
SQL (``nexmark/nexmark`` on GitHub), which modules here cite as "Beam" and "Flink".

``PLUGINS`` is a directory that announces the processors to whoever has it on the Python path.
"""

from pathlib import Path

PLUGINS = Path(__file__).parent / "plugins"
