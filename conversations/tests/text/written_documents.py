"""Documents that tests write: Word and PDF."""

import io
import zipfile
import zlib

XMLNS = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def docx(body, name="word/document.xml"):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, body)
    return packed.getvalue()


def word(*paragraphs):
    runs = "".join(f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>" for text in paragraphs)
    return docx(f"<w:document {XMLNS}><w:body>{runs}</w:body></w:document>")


def pdf(*pages, **more):
    """A PDF of one text per page, written by hand; `more` replaces a page's whole content
    stream.
    """
    content = [
        more.get("raw") or b"BT /F1 12 Tf 72 720 Td (%b) Tj ET" % text.encode("latin-1")
        for text in pages
    ]
    kids = b" ".join(b"%d 0 R" % (4 + 2 * at) for at in range(len(pages)))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count %d/Kids[%b]>>" % (len(pages), kids),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
    ]
    for at, stream in enumerate(content):
        own = (
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F1 3 0 "
            b"R>>>>/Contents %d 0 R>>"
        )
        objects.append(own % (5 + 2 * at))
        packed = zlib.compress(stream)
        head = b"<</Length %d/Filter/FlateDecode>>" % len(packed)
        objects.append(head + b"stream\n" + packed + b"\nendstream")
    out, places = b"%PDF-1.7\n", []
    for number, one in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, one)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    end = b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (size, len(out))
    return out + b"xref\n0 %d\n0000000000 65535 f \n" % size + table + end
