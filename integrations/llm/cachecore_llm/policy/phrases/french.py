"""French."""

from __future__ import annotations

from typing import Final

_END: Final = " ?[.!…]* ?$"
_STOP: Final = " ?([.!,;:(—–-]|$)"
_NOW: Final = "(actuellement |momentanément |temporairement |malheureusement |pour le moment |en ce moment )*"
_KIND: Final = "( interne| inattendue?| inconnue?| technique| du serveur| serveur| réseau| système)*"
_WISH: Final = "(demande|question|requête|message|prompt)s?"
_CANNOT: Final = (
    "(je (ne peux|ne puis|ne pourrai|ne suis) (malheureusement |hélas )?(pas|en mesure)|je n'ai pas la possibilité"
    "|je ne suis pas (en mesure|capable|autorisée?)|je refuse|il m'est impossible|je ne souhaite pas)( malheureusement)? ?(de |d')?"
)

PREFACES: Final = (
    "(je suis |nous sommes )?(vraiment |sincèrement |très )?désolée?s?",
    "(toutes )?(mes|nos) (sincères )?excuses",
    "(je (vous |te )?prie de m')?excusez?-moi",
    "pardon",
    "malheureusement",
    "oups",
    "(je|nous) (regrette|regrettons)",
    "(je|nous) (m'|nous )excus(e|ons)",
    "en tant qu('|e )(ia|intelligence|modèle|assistant)[^.,]{0,50}",
)
PREFACE_TAIL: Final = (
    "( (pour (cela|ça|la gêne( occasionnée)?|ce désagrément)))?[,;:.!…—–-]* ?((mais|que|cependant,?) )?"
)

ERRORS: Final = (
    f"(une|un|l')? ?(erreur|problème|incident|exception|panne){_KIND} (s'est produite?|est survenue?|a été rencontrée?|est apparue?|a eu lieu)",
    (
        f"(il y a eu|(j'ai|nous avons) {_NOW}rencontré) (une|un|des) (erreur|problème|difficulté|incident)s?{_KIND}({_STOP}"
        "| (lors|pendant|en (traitant|essayant|générant)|avec (votre|ta|le serveur))\\b)"
    ),
    f"(quelque chose|il y a quelque chose)( qui)? (s'est mal passé|n'a pas fonctionné|a mal tourné|ne va pas){_STOP}",
    (
        f"(je rencontre|nous rencontrons|je connais|nous connaissons) {_NOW}(des|une|un|actuellement des)? ?(difficultés?|problèmes?|forte demande"
        "|perturbations?)"
    ),
    (
        f"(le|notre|ce|l') ?(service|serveur|système|modèle|assistant|api) (est|n'est) {_NOW}(pas disponible|indisponible|surchargé|hors service"
        "|injoignable|en maintenance|momentanément|temporairement)"
    ),
    f"(service|serveur) (temporairement |momentanément )?(indisponible|surchargé){_STOP}",
    f"erreur{_KIND} ?([:!]|$|\\.$)",
    f"erreur( http)? [45]\\d\\d{_STOP}",
    "(la|votre|ta) (requête|demande|connexion) (a échoué|a expiré|n'a pas (pu|abouti))",
    f"(le )?délai (d'attente )?(a été )?dépassé{_STOP}",
    f"(trop de requêtes|forte demande|limite de (requêtes|débit) (atteinte|dépassée)|quota dépassé){_STOP}",
    f"(je n'ai|nous n'avons) pas (pu|réussi à) (traiter|répondre à|générer|obtenir) (votre|ta|cette|la|une) ({_WISH}|réponse)",
    f"(impossible de) (traiter|générer|contacter|joindre|obtenir) (votre|ta|la|le|une) ({_WISH}|réponse|serveur|service|modèle)",
    (
        "(veuillez|merci de|essayez|réessayez)( réessayer| essayer)?( à nouveau)? (plus tard|ultérieurement|dans (quelques|un) (instants?|minutes?|secondes?|moment))"
        f"{_END}"
    ),
)

REFUSALS: Final = (
    f"{_CANNOT} ?(pas )?(vous |t'|te |m'|y |l')?(directement )?(aider|assister|apporter (mon|d')|accompagner)({_STOP}| (avec|à|dans|sur|pour)\\b)",
    (
        f"{_CANNOT} ?(répondre à|traiter|satisfaire|accéder à|donner suite à|accomplir|exécuter) (cette|votre|ta|ce|ces|une telle|de telles|vos) "
        f"(type de |genre de )?({_WISH}|contenu)"
    ),
    (
        f"{_CANNOT} ?(vous |te )?(fournir|générer|créer|produire|écrire|partager|donner|proposer|discuter) (de |d'|des |du |une |un |ce |cette |ces |telles? )*"
        "(telles? |tels? )?(ce type|instructions?|informations?|conseils?|contenus?|détails?|aide|assistance|réponses?|code)"
    ),
    f"{_CANNOT} ?(faire (cela|ça)|continuer){_STOP}",
    f"(cette|votre) ({_WISH}|contenu) (enfreint|viole|va à l'encontre|a été (bloquée?|refusée?|filtrée?))",
    "(cela|c'est|ceci) (va à l'encontre de|est contraire à|contraire à) mes (principes|directives|règles)",
)

EXPLAINS: Final = "signifie|indique|veut dire|se produit (quand|lorsque|si)|généralement|désigne|est une? "
OFFERS: Final = ", mais |\\bcependant\\b|\\btoutefois\\b|\\bvoici\\b|\\ben revanche\\b"
OFFERS_NOTHING: Final = "(, mais|cependant,?|toutefois,?|en revanche,?) (je (peux|pourrais|serais|suis|reste)|n'hésitez|si vous|si tu|nous|veuillez)"
