"""The text of a PDF, page by page, as an outside reader finds it.

    read_pdf.py FILE

Prints JSON: title, language, and the text of each page.
"""

import json
import sys

from pypdf import PdfReader


def main(file):
    reader = PdfReader(file, strict=True)
    pages = [page.extract_text() for page in reader.pages]
    print(json.dumps({"title": reader.metadata.title, "language": str(reader.root_object["/Lang"]), "pages": pages}))


main(*sys.argv[1:])
