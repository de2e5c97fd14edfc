"""What the sets should hold, computed another way: from the whole history at once, with Python's calendar.

The arguments are a file of lines "SECONDS GOOD" (oldest first), a time zone, and SET=N. Prints for each set its
members, newest first.
"""

import datetime
import sys
import zoneinfo

zone = zoneinfo.ZoneInfo(sys.argv[2])
keep = dict(argument.split("=") for argument in sys.argv[3:])
runs = []
for line in open(sys.argv[1]):
    seconds, good = line.split()
    instant = datetime.datetime.fromtimestamp(int(seconds), datetime.timezone.utc).astimezone(zone)
    runs.append((int(seconds), good == "1", instant))

periods = {
    "hourly": lambda t: t.strftime("%Y-%m-%d %H ") + str(t.utcoffset()),
    "daily": lambda t: t.date().isoformat(),
    "weekly": lambda t: t.isocalendar()[:2],
    "monthly": lambda t: (t.year, t.month),
    "yearly": lambda t: t.year,
}
for name, period in periods.items():
    groups = {}
    for seconds, good, instant in runs:
        groups.setdefault(period(instant), []).append((seconds, good))
    members = []
    for group in groups.values():
        best = [seconds for seconds, good in group if good] or [seconds for seconds, _ in group]
        members.append(best[0])
    members.sort(reverse=True)
    print(name, *members[: int(keep.get(name, 0))])
