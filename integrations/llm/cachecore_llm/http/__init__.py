"""Calls to models as HTTP requests and answers: what the transport under an SDK and the gateway share. Pure, but for
reading a body to its end."""
