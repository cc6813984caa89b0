"""How a job gets at what is sold: leave to buy within its budgets, bills, waiting, progress."""

from collections.abc import Callable, Mapping
from datetime import datetime

from xtrack.context import Context
from xtrack.errors import Paused
from xtrack.models import Account, Bill, Bought, Feed, Page, Resource
from xtrack.money import shown
from xtrack.settings import LLM, Settings, X
from xtrack.streams import show

_MILLION = 1_000_000


class JobAccess:
    """What a source is given that costs something (sources.Access). One call is going on at a time.

    `job_id` is whom it is for, 0 for no job yet; `posts` how many may be taken in all; `patience` as in Access;
    `extend` is told of each wait how long it is, `say` why.
    """

    def __init__(
        self,
        context: Context,
        settings: Settings,
        job_id: int,
        posts: int,
        patience: float = 0,
        extend: Callable[[float], None] = lambda _: None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._context, self._settings, self._job_id = context, settings, job_id
        self._posts_left, self._extend, self._say = posts, extend, say or context.say
        self._reservation = self._paid = 0
        self._said = ""
        self.patience = patience

    @property
    def x(self) -> X:
        return self._settings.x

    def reserve(self, each: Mapping[Resource, int], least: int, most: int) -> int:
        """As sources.Access says."""
        if "post" in each:
            if self._posts_left < least:
                raise Paused(
                    f"{self.x.max_posts} posts were read, the most of one run; the next one reads on from there",
                    "x.max_posts in the config says how many",
                )
            most = min(most, self._posts_left)
        prices = self._prices()
        cost = sum(count * prices[resource] for resource, count in each.items())
        store, budget = self._context.store, self._settings.budget
        self._reservation, granted = store.reserve(self._job_id, cost, least, most, budget, self._context.clock())
        return granted

    def take_at_most(self, posts: int) -> None:
        """From now on."""
        self._posts_left = posts

    def release(self) -> None:
        """As sources.Access says."""
        if self._reservation:
            self._context.store.release(self._reservation)
        self._reservation = 0

    def bill(self, bought: tuple[Bought, ...]) -> Bill:
        """What was bought, at its prices, in place of what was reserved for it."""
        prices, reservation = self._prices(), self._reservation
        self._reservation = 0
        items = {item: prices[item.resource] for item in bought}
        self._paid += sum(items.values())
        return Bill(reservation, self._job_id, self._context.clock(), items)

    def bill_page(self, page: Page) -> Bill:
        """As `bill`; counts the posts of a page."""
        self._posts_left -= len(page.posts)
        return self.bill(page.bought)

    @property
    def llm(self) -> LLM:
        return self._settings.llm

    def reserve_sum(self, cost: int) -> None:
        """As summarizers.ModelAccess says."""
        self._extend(self.llm.timeout.total_seconds())
        store, budget = self._context.store, self._settings.budget
        self._reservation, _ = store.reserve(self._job_id, cost, 1, 1, budget, self._context.clock())

    def settle_tokens(self, input_tokens: int, output_tokens: int) -> int:
        """As summarizers.ModelAccess says."""
        amounts: dict[Resource, tuple[int, int]] = {
            "input_token": (input_tokens, input_tokens * self.llm.input_price // _MILLION),
            "output_token": (output_tokens, output_tokens * self.llm.output_price // _MILLION),
        }
        self._context.store.settle(Bill(self._reservation, self._job_id, self._context.clock(), {}, amounts))
        self._reservation = 0
        return sum(cost for _, cost in amounts.values())

    def _prices(self) -> dict[Resource, int]:
        return {"post": self.x.post_price, "user": self.x.user_price, "media": self.x.media_price}

    def spent(self) -> str:
        """What was paid since it was last asked, in words; less, where some of it was bought on the same day before."""
        paid, self._paid = self._paid, 0
        return f" for {shown(paid)} at most" if paid else ""

    def called(self, feed: Feed) -> str:
        """How a feed is called where people read it."""
        account = self.account(feed.account_id) if feed.account_id else None
        return f"@{account.username}" if account else feed.spec

    def account(self, account_id: str) -> Account | None:
        """As sources.Access says."""
        return self._context.store.account(account_id)

    def recall(self, name: str) -> str:
        """As sources.Access says."""
        return self._context.store.recall(name)

    def remember(self, name: str, value: str) -> None:
        """As sources.Access says."""
        self._context.store.remember(name, value)

    def clock(self) -> datetime:
        """As sources.Access says."""
        return self._context.clock()

    def wait(self, seconds: float, why: str) -> None:
        """As sources.Access says."""
        self._extend(seconds)
        if why != self._said:
            self._say(f"{why}: waiting")
        self._said = why
        self._context.sleep(seconds)

    def show(self, progress: str) -> None:
        """As sources.Access says."""
        show(progress)
