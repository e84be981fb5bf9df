"""English. "We cannot" is a company that speaks, and may well be the answer; "I cannot" is the model.

Customers write "I can't withdraw cash" and "my payment failed", so that the verbs of customers are in no phrase.
"""

from __future__ import annotations

from typing import Final

_END: Final = " ?[.!…]* ?$"
_STOP: Final = " ?([.!,;:(—–-]|$)"
_NOW: Final = "(currently |temporarily |still |now |presently )*"
_KIND: Final = (
    "(internal |unexpected |unknown |temporary |technical |system |server |network |api |upstream |gateway |fatal "
    "|critical |connection |database |backend )*"
)
_TROUBLE: Final = "(errors?|exceptions?|issues?|problems?|trouble|difficult(y|ies)|glitch|hiccup|outage)"
_DOING: Final = (
    "(processing|handling|generating|answering|completing|responding|fetching|retrieving|contacting|connecting|calling"
    "|communicating|loading|executing|reaching|accessing|creating a response|getting a response|parsing the response)"
)
_RETRY: Final = (
    "(please |kindly )?(try|retry|check back|come back|wait)( (it|that|this|your (request|question|message)))?"
)
_SELF: Final = "(i am|i'm|we are|we're|our (service|systems?|servers?|api|assistant) (is|are)|(the|that|this) (service|system|server|model|assistant|api) is)"
_CANNOT: Final = (
    "(i (cannot|can ?not|can't|am not able to|am unable to|will not|won't|must( respectfully)? decline to"
    "|have to decline to|am not (allowed|permitted) to|do not feel comfortable|don't feel comfortable)"
    "|i'm (not able to|unable to|not (allowed|permitted) to|not comfortable|not going to))"
    "( and (will not|won't|cannot|can't|shall not))?"
    "( directly| currently| ethically| morally| legally| responsibly| in good conscience)*"
)
_WISH: Final = "(request|question|query|prompt|message|task|inquiry|instruction)s?"

PREFACES: Final = (
    "((i'm|i am|we're|we are) )?((very|so|really|terribly|truly) )?sorry",
    "((my|our|please accept my) )?(sincere )?apologies",
    "(i|we) apologi[sz]e",
    "unfortunately",
    "oops",
    "whoops",
    "uh[ -]oh",
    "hmm+",
    "oh no",
    "as an? (ai|large language|language|artificial)[^.,]{0,40}",
    "(i'm|i am) afraid",
    "i regret",
)
PREFACE_TAIL: Final = (
    "( (about|for) (that|this|the (inconvenience|trouble|delay|confusion)))?[,;:.!…—–-]* ?"
    "((but|that|however,?|so|it (looks|seems|appears) (like|that|as if)) )?((i'm|i am) afraid (that )?)?"
)

ERRORS: Final = (
    (
        f"(there (was|has been|seems to (be|have been))|(i|we|you|it)('ve)?) ?((have |has )?(just )?(encountered|experienced"
        f"|ran into|run into|hit|had|got|received) )?((an?|some|the) )?{_KIND}{_TROUBLE} (while |when |during |in |with )?{_DOING}"
    ),
    (
        f"(i|we|the (system|server|model|assistant))('ve)?( have| has)?( just)? (encountered|experienced|ran into|run into|hit) "
        f"(an?|some) {_KIND}{_TROUBLE}({_STOP}| {_RETRY}| (while|when|during|and))"
    ),
    (
        f"((an?|our) )?{_KIND}(error|exception|problem|issue|timeout) (has |have |just )?(occurr?ed|happened|been encountered|was encountered)"
        f"({_STOP}| (while|when|during|and|please|at our|on our|(in|on|with) (our|your|the (server|system|service|request|connection)))\\b)"
    ),
    (
        f"{_SELF} {_NOW}(experiencing|having|facing|encountering|seeing) (some |an? )?(unusually |very |extremely |temporary "
        f"|technical |unexpected |high |heavy |internal |network |connection )+({_TROUBLE}|demand|load|traffic|volume)"
    ),
    f"((our|the) (service|systems?|servers?|model|assistant|api) (is|are)|we are|we're) {_NOW}experiencing (some |an? )?{_TROUBLE}",
    (
        f"{_SELF} {_NOW}(overloaded|at (full |maximum )?capacity|rate[ -]limited|unreachable|not responding)"
        f"({_STOP}| (right now|at the moment|at this (time|moment)|due to|with (other )?requests|and (can|could)))"
    ),
    f"{_SELF} {_NOW}(unavailable|offline|not available|down)({_STOP}| (right now|at the moment|at this (time|moment)|due to|for maintenance))",
    f"{_SELF} {_NOW}(down for|under|undergoing) maintenance",
    (
        f"(something|things?)( has| have| seems to have| appears to have)?( just)? (went|gone) (terribly |horribly |a bit )?wrong({_END}|[.!…,;—–-]+ "
        f"({_RETRY}|we|our|i|an?|the|sorry|error)\\b| (on our|while|when|during|at our|and (i|we) (could|can|was|were)|please|processing)\\b)"
    ),
    (
        f"((i|we)( currently)? (could not|couldn't|(was|were|am|are)( currently)? unable to|(wasn't|weren't|am not|are not) able to"
        f"|can't|cannot)|((i|we) )?failed to|unable to)( currently)? (process|handle|generate|complete|fulfill?|get|produce|retrieve|connect to|reach|contact|access) "
        f"(your {_WISH}|an? (response|answer|reply)|(that|this|the) {_WISH}|the (server|service|model|api|upstream|backend|llm|database))"
        f"([^.!]{{0,60}} (right now|at the moment|at this (time|moment)|currently|try again|later)\\b"
        f"|[^.!]{{0,20}} (due to|because of) (an? )?{_KIND}{_TROUBLE}|[.!…,;—–-]+ {_RETRY})"
    ),
    (
        "((i|we) (could not|couldn't|(was|were) unable to|(wasn't|weren't) able to)|((i|we) )?failed to) (process|handle|generate|complete|produce) "
        f"(your {_WISH}|an? (response|answer|reply)|(that|this|the) {_WISH}){_END}"
    ),
    (
        f"(internal|unexpected|unknown|api|upstream|gateway|network|server|fatal|runtime|connection|system) {_KIND}(error|timeout|failure)"
        f"({_STOP}| (occurred|has occurred|while|when|during|code)\\b)"
    ),
    (
        f"error( code| status| http)? ?\\(?:? ?[45]\\d\\d\\)?({_STOP}| (bad|unauthorized|forbidden|too many|internal|service|gateway"
        f"|request|server)\\b)"
    ),
    "error ?[:!](?! ?(none|no\\b|0\\b))",
    f"error( has)? occurr?ed({_STOP}| (while|when|during|in)\\b)",
    f"error (while|when|during|in) {_DOING}\\b",
    f"(error|failure) {_DOING} (to |with )?((your|the|this|an?) )?({_WISH}|response|completion|server|api|model|provider|upstream|service|data)",
    "(error|failure)[.!]+$",
    "[\\[(<{*]+ ?(system |internal |server |api |network )*(error|err|exception|failure|failed|timeout)\\b[^\\])>}*:]{0,40}[\\])>}*:]",
    (
        "((http(/\\d(\\.\\d)?)?|error|status|status code|code):? ?)*[45]\\d\\d ?[:—–-]? ?(bad (gateway|request)|unauthorized|forbidden"
        f"|too many requests|internal (server )?error|service (temporarily )?unavailable|(gateway|request) time-?out)({_STOP}| error)"
    ),
    f"(internal server error|bad gateway|gateway time-?out|too many requests|request time-?out)({_STOP}| please)",
    f"((the|this|our) )?service (is )?(currently |temporarily )*unavailable({_STOP}| (right|at|due|please|try)\\b)",
    "((the|this|our|your) )?(request|connection|operation|api call|query|upstream|completion|call) (has |was )?(timed out|timeout)",
    (
        f"((the|this|our|your) )?(request|connection|api call|query|completion|generation) (has |was )?(failed|aborted)({_END}|[.,:!] {_RETRY}"
        "| with (status|error|code)| due to (an? )?(timeout|time|rate|network|server|internal|connection)| after \\d)"
    ),
    (
        "((api|your|the) )?(rate[ _-]?limit|quota|token limit|usage limit|request limit)( has been| was| is)? (exceeded|reached|hit)"
        f"({_STOP}| (for|on|please|try|in)\\b)"
    ),
    (
        "(you (have |already )?|you've )?(exceeded|reached|hit) (your|the) (current |api |rate |monthly |daily |usage )*"
        f"(quota|rate limit|usage limit|request limit|limit){_STOP}"
    ),
    f"high (demand|traffic|load)({_END}|[.!,;:—–-]+ ({_RETRY}|we |our ))",
    "(we|i)( are| am|'re|'m) (receiving|getting) (too many|a lot of|an? (unusually )?high) (requests|traffic|volume|number)",
    f"upstream (connect|request (timed|timeout|failed|error)|timed|timeout|(service |provider )?(error({_STOP}| (from|while|or)\\b)|unavailable|returned))",
    f"no (response|answer|output|content)( was| is)?( (received|generated|returned|available))?( (from|by) [^.]{{1,40}})?{_END}",
    f"((the|your) )?(response|answer|output|content|result) (is |was )?(empty|unavailable|not available|blocked|filtered){_END}",
    f"(i|we)('m|'re| am| are) (having|experiencing) (some )?{_KIND}{_TROUBLE} {_DOING}\\b",
    (
        f"(the )?(model|server|engine|system|provider|assistant|llm|bot) (is|has been) {_NOW}(overloaded|unavailable|at capacity|rate[ -]limited"
        f"|not (responding|available)|offline){_STOP}"
    ),
    f"(the )?(model|server|engine|provider|assistant|llm|bot) (did not|didn't|failed to) (respond|answer|return a response)( in time)?{_STOP}",
    "traceback \\(most recent call last\\)",
    f"{_RETRY} (again )?(later|in a (few )?(moments?|minutes?|seconds?|bit|while)|soon|shortly){_END}",
)

REFUSALS: Final = (
    (
        f"{_CANNOT} (assist|help|helping|assisting)({_STOP}| you( out)?({_STOP}| (with|on|in|do|to)\\b)| with( (?!it\\b)|{_END})"
        "| (in|on) (this|that|any|creating|writing)\\b| (to|anyone|someone) | (create|creat|mak|writ|produc|generat|provid|hack|harm)\\w*\\b)"
    ),
    f"{_CANNOT} (comply|fulfil|fulfill|fulfilling|engage|engaging|participate|collaborate)({_STOP}| (with|in|that|this|your|the|any|such)\\b)",
    (
        f"{_CANNOT} (answer|respond to|answering|responding to|process|complete|continue)({_END}"
        f"| (with |to )?(that|this|your|such|any|these|those|the)( (type|kind|sort) of)?( {_WISH}\\b| (topic|conversation)\\b|{_STOP}))"
    ),
    (
        f"{_CANNOT} (provide|generate|create|discuss|share|produce|offer|write|give|support|providing|generating|creating|discussing"
        f"|sharing|writing)({_END}| (you (with )?)?(that|this|such|these|those|any|instructions|guidance|information|details|assistance"
        "|advice|content|responses?|medical|legal|financial|illegal|harmful|explicit|sexual|copyrighted|personal|private|step|a response"
        "|an answer|help|code (that|for|to)|detailed)\\b)"
    ),
    f"{_CANNOT} do (that|this|so)({_STOP}| for you)",
    f"(this|that|your) ({_WISH}|content) (violates|goes against|is against|(was|has been|is) (flagged|blocked|rejected))",
    (
        "(that|this)('s| is) not (something|an? (topic|request|question)) (that )?(i can|i'm able to|i am able to|i'm willing to|i'm comfortable) "
        "(help|assist|do|provid|discuss|creat|answer|support|engag|generat|writ|comply|shar)"
    ),
    "it('s| is) against my (guidelines|policy|policies|programming|principles)",
    "my (safety |content )?(guidelines|programming|policies) (prevent|don't allow|do not allow|prohibit|forbid) ",
    f"we (cannot|can't|are unable to|are not able to) (process|fulfil|fulfill|answer) (your|this|that) {_WISH}{_END}",
    f"(thank you[^.,]{{0,30}}, )?(but )?no, {_CANNOT} ",
)

EXPLAINS: Final = "means?|meant|meaning|indicates?|occurs|happens|refers|stands for|is the (text|name|message|code|class|title)|is (raised|returned|thrown|shown|caused|used|defined|displayed)|usually|typically"
"""Words of a text about errors, which is no error itself."""
OFFERS: Final = ", but |\\bhowever\\b|\\binstead\\b|\\bhere('s| is| are)\\b|\\balternatively\\b"
"""Words with which a partial answer goes on."""
OFFERS_NOTHING: Final = "(, but|however,?|instead,?) (i can|i could|i'd|i would|i am|i'm|if you|feel free|let me know|please|is there|we can|we could)"
"""Words with which a refusal goes on politely."""
