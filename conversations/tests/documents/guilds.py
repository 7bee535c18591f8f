"""Two long texts, and searches in the documents that are made of them."""

# ruff: noqa: RUF001 - Chinese punctuation is the matter here

from conversations.documents import ingest
from conversations.documents.document_cache import find_outline
from conversations.documents.index_worker import Splitting
from conversations.documents.ranking import IngestedText, rank_passages
from providers.database.database_threads import run_in_thread

TOWNS = "Arden Bexley Corby Dunmore Elstow Farley Girton Hexham Ilkley Jarrow".split()
TRADES = "baker cooper weaver miller tanner fletcher glazier mason potter smith".split()
CHINESE_TOWNS = "东城 西城 南城 北城 山城 水城 花城 石城 古城 新城".split()
CHINESE_TRADES = "面包师 铁匠 织工 磨坊主 皮匠 箭匠 玻璃匠 石匠 陶工 木匠".split()
ENGLISH = "\n\n".join(
    (
        f"In {town} the {trade} keeps his shop open late. The street is quiet in winter, and the "
        "people of the town like "
        f"to meet there in the evening. His number in the register of the guild is {n}{k}."
    )
    for n, town in enumerate(TOWNS)
    for k, trade in enumerate(TRADES)
)
CHINESE = "\n\n".join(
    f"在{town}，{trade}的店铺很晚才关门。冬天街上很安静，镇上的人喜欢傍晚在那里见面。他在行会名册上的号码是{n}{k}。"
    for n, town in enumerate(CHINESE_TOWNS)
    for k, trade in enumerate(CHINESE_TRADES)
)


async def take_in(person, text, splitting=None):
    """Take a text in; return its document's id."""
    ingested = await ingest.ingest_text(person.user.pk, text, splitting or Splitting(size=200))
    return ingested.document_id


async def search(document_id, question):
    """Return the numbers of the passages that answer the question, best first."""
    outline = await find_outline(document_id)
    if outline is None:
        return []
    hits = await run_in_thread(rank_passages, IngestedText(document_id, outline), question)
    return [hit.key for hit in hits]
