import json, time
from pathlib import Path
import pytest
from conversations.documents import ingest, recall, embed
from conversations.documents.divide import Splitting
from conversations.documents.recall import Question
from providers.offloop import off_loop
pytestmark = [pytest.mark.usefixtures("transactional_db"), pytest.mark.timeout(400)]

@pytest.mark.parametrize("lang", ["en", "zh"])
async def test_m(alice, lang):
    data = json.loads(Path(f"/work/shared/data/qa.{lang}.json").read_text())
    paragraphs = [p for a in data for p in a["paragraphs"]]
    text = "\n\n".join(p["text"] for p in paragraphs)
    known = await ingest.take_in(alice.user.pk, text, Splitting())
    local = embed.Local()
    s = time.perf_counter()
    await embed.document(local, known.document_id)
    print(f"\n{lang} embedding {len(known.outline)} passages {time.perf_counter()-s:.1f} s")
    qs = [(p, q) for p in paragraphs for q in p["questions"]]
    vs = await local([q["question"] for _, q in qs])
    hit = {"words": 0, "fused": 0, "near": 0}
    for (p, q), v in zip(qs, vs):
        start = text.index(p["text"]); end = start + len(p["text"])
        for mode, question in (("words", Question(q["question"])), ("fused", Question(q["question"], v)), ("near", Question("", v))):
            got = await recall.recall(alice.user.pk, [known.document_id], question, len(text) // 10)
            hit[mode] += any(a in g.text and g.start < end and g.end > start for g in got for a in q["answers"])
    print(lang, {k: round(n / len(qs), 4) for k, n in hit.items()})
