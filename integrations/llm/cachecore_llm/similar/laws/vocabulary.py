"""The words that the laws know, by language. A word that is in no list carries weight and pairs only with itself."""

from __future__ import annotations

from typing import Final


def listed(words: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(words.split())


WEIGHTLESS: Final = {
    "en": listed(
        """
        a an the is are was were be been being am do does did have has had can could will would shall may might
        i me my we us our ours you your yours it its that there so really actually then exactly basically
        """
    ),
    "de": listed("der die das den dem des ein eine einen einem einer"),
    "fr": listed("le la les un une des"),
    "es": listed("el la los las un una unos unas"),
    "it": listed("il lo la i gli le un uno una"),
    "pt": listed("o a os as um uma uns umas"),
    "nl": listed("de het een"),
}
"""Words that may come, go and stand elsewhere, in a text of their language: articles, pronouns, auxiliaries. Tense,
modality and persons, which some of them tell, are laws of their own."""

NOUNS: Final = listed("it us am may might will mine")
"""Those of them that are nouns as well: `us shipping cost`, `it support`, `may day`."""

POLITE: Final = {
    "en": listed("please thanks thank hi hello hey kindly well pls plz"),
    "de": listed("bitte danke hallo"),
    "fr": listed("svp bonjour merci"),
    "es": listed("hola gracias"),
    "it": listed("grazie ciao"),
    "pt": listed("olá obrigado obrigada"),
    "nl": listed("hallo bedankt"),
}
"""Words that are politeness where a sentence begins and something else follows, behind a comma at its end, and behind
a pronoun; elsewhere they are words like others: `How do I say hello in …`, `thank you note`, `please my wife`."""

WISHES: Final = listed("please pls plz kindly bitte")
"""Words of politeness that stand in a request and tell its language. Greetings and thanks are spoken of in others."""

MARKS: Final = {
    "en": listed(
        """
        the is are do does did what how why where when who which my your i you can could should would please and of
        have has this that with for from tell show explain
        """
    ),
    "de": listed("der die das den dem ist wie ich und nicht mein meine kann wo warum wann ein eine für von zu mit"),
    "fr": listed("le la les est que comment je mon ma pourquoi quand où une du avec pour dans quel quelle et"),
    "es": listed("el los las es qué cómo como mi por cuándo dónde una del con para puedo cuál y"),
    "it": listed("il gli è che come mio mia perché quando dove una del della con per posso quale"),
    "pt": listed("os é como meu minha por quando onde uma do da com para posso qual você não"),
    "nl": listed("de het hoe ik mijn waarom wanneer waar een van met voor kan welke niet en"),
}
"""Frequent words by which a language is known."""

NEGATIONS: Final = listed(
    """
    not no never none nobody nothing nowhere neither nor without unable refuse deny hardly barely
    nicht kein keine keinen keinem keiner nie niemals ohne
    ne pas jamais aucun aucune sans rien nunca jamás ningún ninguna ninguno sin nada tampoco
    non mai nessuno nessuna senza não nem nenhum nenhuma sem niet geen nooit zonder
    inte ingen inga aldrig utan ikke ingen aldri uten aldrig uden nie bez żaden не нет без никогда
    """
)

SCOPE: Final = listed(
    """
    only just except but unless all every each both any some most least more less other another else instead before
    after and or until since while if again still yet already always sometimes ever even also too about over under
    within between per first last next same
    nur außer alle jeder seit bis vor nach oder und
    seulement sauf tous chaque depuis avant après ou et
    solo sólo excepto todos cada desde hasta antes después
    """
)
"""Words that say of how much, when and under which condition a thing is said."""

DATES: Final = listed(
    """
    monday tuesday wednesday thursday friday saturday sunday mondays tuesdays wednesdays thursdays fridays saturdays
    sundays mon tue tues wed thu thur thurs fri sat sun january february march april june july august september october
    november december jan feb mar apr jun jul aug sep sept oct nov dec today tomorrow yesterday tonight now weekend
    weekday spring summer autumn winter noon midnight morning evening afternoon night daily weekly monthly yearly
    heute morgen gestern montag dienstag mittwoch donnerstag freitag samstag sonntag
    """
)
"""Words of the calendar and the clock."""

_TO_TWENTY: Final = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
_TENS: Final = "thirty forty fifty sixty seventy eighty ninety"
CARDINALS: Final = {word: str(value) for value, word in enumerate(_TO_TWENTY.split())} | {
    word: str(value) for value, word in zip(range(30, 100, 10), _TENS.split(), strict=True)
}
"""English number words and their digits. Ordinals, halves and dozens are other words."""

ADVERBS: Final = listed("so really actually exactly basically")
"""Words without weight that may stand between an article and its noun; another one there is a noun: `a will`."""
AUXILIARIES: Final = listed("is are was were be been am do does did have has had can could will would shall may might")
"""Without the forms that may stand behind a preposition: `of being`."""
PARTICIPLES: Final = listed(
    """
    bent bet bound bought bred brought built burnt burst bid cast caught cost cut dealt dug fed felt fled fought found
    held heard hit hung hurt kept laid led left lent let lit lost made meant met paid put read rid said sent set shed
    shone shot shut slept slid sold sought spent spilt split spread stood struck stuck stung sung swept swung taught
    thought thrown thrust told understood won wept wound done gone seen been begun blown broken chosen drawn driven
    drunk eaten fallen flown forgotten forgiven frozen given grown hidden known ridden risen shaken shown spoken stolen
    swum sworn taken torn woken worn written become come run beaten bitten got gotten proven
    """
)
"""Irregular participles of English verbs."""
PAST: Final = listed("was were did had")
FUTURE: Final = listed("will shall")
ABILITY: Final = listed("can could may might")
HAVING: Final = listed("have has had having")
BEING: Final = listed("is are am was were be been being")
FIRST: Final = listed("i me my mine we us our ours")
SECOND: Final = listed("you your yours")
MOTION: Final = listed("in on at from to for with by into onto via during instead")
"""Prepositions that begin a phrase which may stand before or behind another."""
GERUND: Final = MOTION | listed("of after before without while when about than and or like")
"""Words behind which a form in -ing is a verb."""
TURNING: Final = listed("stop stops stopped remember remembered forget forgot try tried regret used mean")
"""Verbs with which an infinitive and a form in -ing say two things."""
NO_ORDERS: Final = MOTION | listed(
    "a an the this that these those my our your his her their its me us you him them it "
    "an auf aus bei für gegen im mit nach über um von vor zu der die das den dem ein eine einen mein meine dein deine"
)
"""Prepositions, articles and pronouns, English and German: no order begins with one."""
INTERROGATIVES: Final = listed("what when where who whom why how")
ASKING: Final = INTERROGATIVES | AUXILIARIES | listed("which")
"""Words that begin a question."""
DETERMINERS: Final = listed("a an the my our your its his her their")
"""Articles and possessives, which stand before a noun."""
PLACES: Final = listed("in on at")
"""Prepositions that say one thing before a name."""
