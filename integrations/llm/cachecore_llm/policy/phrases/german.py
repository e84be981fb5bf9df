"""German. Customers write "Ich kann kein Geld abheben": verbs of theirs are in no phrase."""

from __future__ import annotations

from typing import Final

_END: Final = " ?[.!…]* ?$"
_STOP: Final = " ?([.!,;:(—–-]|$)"
_NOW: Final = "((gerade|derzeit|momentan|zurzeit|zur zeit|im moment|leider|aktuell|vorübergehend) )*"
_KIND: Final = "((internen?r?|unerwarteten?r?|unbekannten?r?|technischen?r?|temporären?r?) )*"
_WISH: Final = "(anfrage|frage|bitte|aufgabe|anliegen|nachricht|eingabe|anforderung)"
_NOT: Final = (
    "(leider |dir |ihnen |euch |dabei |damit |hierbei |hiermit |darauf |das |dies |diese |dieser |bei |auf |mit )*"
)

PREFACES: Final = (
    "((es|das) )?tut mir (sehr |wirklich )?leid",
    "tut mir (sehr )?leid",
    "es tut uns (sehr )?leid",
    "(ich )?(bitte um )?entschuldigung",
    "entschuldigen sie",
    "verzeihung",
    "leider",
    "ups",
    "hoppla",
    "sorry",
    "als (ki|sprachmodell|künstliche)(-?modell|-?assistent|[^., ]{0,20}| intelligenz)",
    "ich bedau(e)?re",
)
PREFACE_TAIL: Final = "( (bitte|vielmals|für die unannehmlichkeiten))?[,;:.!…—–-]* ?((aber|doch|dass|jedoch) )?"

ERRORS: Final = (
    (
        f"(es ist|da ist|hier ist)( mir| uns)? {_NOW}(ein|eine|etwas) {_KIND}(fehler|problem|störung|zeitüberschreitung|serverfehler)"
        f"[^.!]{{0,50}} ?(aufgetreten|passiert|unterlaufen)"
    ),
    f"(ein|eine) {_KIND}(fehler|problem|störung|serverfehler) ist [^.!]{{0,50}}?(aufgetreten|passiert)",
    "bei (der|ihrer|deiner) (verarbeitung|bearbeitung|anfrage|beantwortung)[^.!]{0,40} (ist|trat|gab) [^.!]{0,40}(fehler|problem)",
    (
        f"(es gab|wir haben|ich habe) {_NOW}(ein|einen|eine)? ?{_KIND}(problem|fehler|störung|probleme|schwierigkeiten)"
        f"( (bei|beim|mit) (der|ihrer|deiner) (verarbeitung|bearbeitung|verbindung|anfrage|server)|{_END})"
    ),
    f"(da |hier )?(ist )?{_NOW}etwas (ist )?{_NOW}(schiefgelaufen|schief gelaufen|schiefgegangen|schief gegangen)",
    f"da ist {_NOW}(etwas |was )?schief ?(gelaufen|gegangen)",
    f"(ich habe|wir haben) {_NOW}(mit )?(technischen? )(schwierigkeiten|probleme)",
    f"(der|unser|das|die) (dienst|service|server|system|modell|assistent|api) ist {_NOW}(nicht (verfügbar|erreichbar)|überlastet|ausgefallen)",
    "(der|unser) (dienst|service|server) (steht|antwortet) [^.!]{0,30}(nicht zur verfügung|nicht)",
    f"(interner|unerwarteter|technischer|unbekannter) (server)?fehler({_STOP}| (bei|ist|beim)\\b)",
    "(server|netzwerk|verbindungs|system)?fehler ?[:!]",
    f"(server|system)fehler{_END}",
    (
        f"(die|ihre|deine) (anfrage|verbindung) (ist |hat )?{_NOW}(fehlgeschlagen|das zeitlimit|wurde abgebrochen|konnte (nicht|leider nicht) "
        "(verarbeitet|bearbeitet|beantwortet))"
    ),
    (
        f"(ich|wir) (konnten? (ihre|deine|diese|die) {_WISH} {_NOW}nicht (verarbeiten|bearbeiten|beantworten)({_END}|[.!,]* (bitte )?versuch)"
        f"|(kann|können) (ihre|deine|diese|die) {_WISH} {_NOW}nicht (verarbeiten|bearbeiten|beantworten)[.!,]+ (bitte )?versuch)"
    ),
    f"zeitüberschreitung({_STOP}| (der|bei)\\b)",
    "(zu viele anfragen|hohe auslastung|hohe nachfrage)[.!,;:—–-]",
    f"wir (haben|verzeichnen|erleben) {_NOW}(eine |ein )?(sehr |ungewöhnlich )?(hohe|hohes|starke) (auslastung|nachfrage|anfragen|anfrageaufkommen){_STOP}",
    (
        "bitte (versuche?|versuchen sie|probiere?|probieren sie) (es )?(später|in (einigen|wenigen|ein paar) (minuten|augenblicken|sekunden)|gleich)"
        f"( noch ?(ein)?mal| erneut| wieder)?{_END}"
    ),
)

REFUSALS: Final = (
    f"{_NOT}(ich )?(kann|darf|werde|möchte) (ich )?{_NOT}(nicht|nicht weiter) (helfen|weiterhelfen|behilflich sein|unterstützen|assistieren)",
    (
        f"{_NOT}(ich )?(kann|darf|werde|möchte) (ich )?{_NOT}(({_WISH}|ihre|deine|solche|solchen|derartige|ihrer|deiner|inhalte|fragen|anfragen|"
        "themen|art von) )*nicht (beantworten|nachkommen|entsprechen|erfüllen|antworten|eingehen|bearbeiten|diskutieren|erstellen|bereitstellen|"
        f"schreiben|unterstützen|besprechen)({_STOP}| )"
    ),
    (
        "ich bin nicht in der lage,? (ihnen |dir |diese |solche |dabei |darauf |ihre |deine |bei )*[^.!,]{0,30}(zu helfen|zu beantworten|zu erfüllen|"
        "zu antworten|weiterzuhelfen|zu unterstützen|zu erstellen|behilflich)"
    ),
    (
        "(ich )?(kann|darf) (ich )?(leider |dazu |hierzu |darüber |ihnen |dir )*keine (anleitung|anleitungen|informationen|auskunft|inhalte|ratschläge|hilfe|hinweise|unterstützung|"
        "medizinischen?|rechtlichen?|rechtsberatung|details)[^.!]{0,80}(geben|bereitstellen|liefern|erstellen|anbieten|teilen|leisten)"
    ),
    "(ich )?muss (ich )?(diese|ihre|deine|die) (anfrage|bitte) (leider )?ablehnen",
    "(diese|ihre|deine) (anfrage|frage|eingabe) (verstößt|wurde (blockiert|abgelehnt|gefiltert))",
    "das (verstößt|widerspricht) (gegen )?mein(e|en)? (richtlinien|grundsätzen?|programmierung|prinzipien)",
)

EXPLAINS: Final = "bedeutet|heißt|weist|tritt auf|entsteht|meist|üblicherweise|typischerweise|bezeichnet|weil"
OFFERS: Final = ", aber |\\bjedoch\\b|\\bstattdessen\\b|\\bhier (ist|sind)\\b|\\ballerdings\\b"
OFFERS_NOTHING: Final = "(, aber|jedoch,?|stattdessen,?|allerdings,?) (ich (kann|könnte|helfe|bin)|kann ich|könnte ich|helfe ich|gerne|wenn|falls|bitte|wir)"
