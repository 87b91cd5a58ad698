import os
import shutil
import sys

from local.stack import Stack
from storm import campaign, project
from storm.stack import SETTINGS

given = campaign.parser().parse_args()
folder, reports = given.folder.resolve(), given.report.resolve()
home = folder / "home"
Stack(home).down()
shutil.rmtree(home, ignore_errors=True)  # of the storm before
copy = project.copy(folder)
os.chdir(copy)
again = [*sys.argv[1:], "--folder", str(folder), "--report", str(reports)]
environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLUICE_", "AWS_"))}
environment |= SETTINGS | {"PYTHONPATH": str(copy)}
os.execve(sys.executable, [sys.executable, "-m", "storm.campaign", *again], environment)
