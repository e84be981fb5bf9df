"""The OpenAI SDK with answers kept in a file: run it twice, and the second time nothing is asked.

    OPENAI_API_KEY=… python examples/openai_client.py "Why is the sky blue?"

Needs the extra `openai` of cachecore-llm (docs/install.md).
`OPENAI_BASE_URL` names any other endpoint that speaks the protocol.
"""

import sys

from openai import OpenAI

from cachecore_llm.sdk import cached_client

with cached_client("sqlite:///answers.db") as http:
    client = OpenAI(http_client=http)
    question = " ".join(sys.argv[1:]) or "Why is the sky blue?"
    raw = client.chat.completions.with_raw_response.create(
        model="gpt-5-mini", messages=[{"role": "user", "content": question}]
    )
    print(raw.parse().choices[0].message.content)
    print(raw.headers["cache-status"])
