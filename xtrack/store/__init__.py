"""The only SQL: jobs, feeds, posts, runs and summaries in one SQLite file.

Every write is one short BEGIN IMMEDIATE transaction.
"""

from xtrack.store.jobs import Jobs
from xtrack.store.posts import Posts
from xtrack.store.runs import Runs
from xtrack.store.summaries import Summaries
from xtrack.store.upkeep import Upkeep


class Store(Jobs, Posts, Runs, Summaries, Upkeep):
    """What the program asks of the file and writes into it."""
