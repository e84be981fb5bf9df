"""Italian."""

from __future__ import annotations

from typing import Final

_END: Final = " ?[.!…]* ?$"
_STOP: Final = " ?([.!,;:(—–-]|$)"
_NOW: Final = "(attualmente |temporaneamente |al momento |in questo momento |purtroppo |momentaneamente )*"
_KIND: Final = (
    "( interno| imprevisto| inaspettato| sconosciuto| tecnico| del server| di rete| di sistema| di connessione)*"
)
_WISH: Final = "(richiest[ae]|domand[ae]|messaggi?o?|compito)"
_CANNOT: Final = (
    "((io )?non (posso|potrò|sono in grado di|sono autorizzat[oa] a|mi è possibile|mi è consentito|riesco a)"
    "|mi è impossibile|devo rifiutar(e|mi di))"
)

PREFACES: Final = (
    "(mi |ci )?(dispiace|spiace|rincresce)( molto| davvero)?",
    "(chiedo |chiediamo |le mie |mi )?scus(a|e|i|ate|o|iamo)",
    "purtroppo",
    "ops",
    "come (ia|intelligenza|modello|assistente)[^.,]{0,50}",
)
PREFACE_TAIL: Final = "( (per (questo|il disagio|l'inconveniente)))?[,;:.!…—–-]* ?((ma|che|però,?) )?"

ERRORS: Final = (
    f"(si è verificat[oa]|è avvenut[oa]|c'è stat[oa]|ho riscontrato|abbiamo riscontrato|è stato riscontrato) (un|uno|una|un') ?(errore|problema|guasto|eccezione){_KIND}({_STOP}| (durante|mentre|con (il server|la richiesta|la tua|la sua)|nell'elabora)\\b)",
    f"qualcosa è andato storto{_STOP}",
    f"(sto|stiamo) {_NOW}(riscontrando|avendo|affrontando|registrando) (alcune |dei |delle |un'|una )?(difficoltà|problemi|alta richiesta|elevata richiesta)",
    (
        f"(il|il nostro|l'|la) ?(servizio|server|sistema|modello|assistente|api) (è|non è) {_NOW}(non disponibile|disponibile|sovraccaric[oa]|in manutenzione"
        f"|irraggiungibile){_STOP}"
    ),
    f"(servizio|server) (temporaneamente )?non disponibile{_STOP}",
    f"errore{_KIND} ?([:!]|$|\\.$)",
    f"errore( http)? [45]\\d\\d{_STOP}",
    "(la|tua|sua|la tua|la sua) (richiesta|connessione) (è fallita|non è riuscita|è scaduta|non può essere elaborata)",
    f"(tempo (di attesa )?scaduto|troppe richieste|richiesta elevata|limite di richieste (raggiunto|superato)){_STOP}",
    f"(non è stato possibile|non sono riuscit[oa] a|impossibile) (elaborare|generare|completare|ottenere|contattare) (la|una|il|questa|tua|sua) ?(tua |sua )?({_WISH}|risposta|server|servizio)",
    f"(per favore,? |si prega di )?(riprova|riprovare|riprovi|riprovate)( più tardi| tra (qualche|alcuni|poco)( minut[oi]| istant[ei]| second[oi])?){_END}",
)

REFUSALS: Final = (
    f"{_CANNOT} (aiutarti|aiutarla|aiutare|aiutarvi|assisterti|assisterla|assistere|collaborare)({_STOP}| (con|a|in|su)\\b)",
    f"{_CANNOT} (rispondere a|elaborare|soddisfare|esaudire|completare|eseguire) (questa|quest[oe]|questo tipo di|tale|la tua|la sua|queste) ?{_WISH}",
    (
        f"{_CANNOT} (fornire|fornirti|fornirle|generare|creare|scrivere|condividere|offrire|dare|darti|discutere|produrre) "
        "(questo |questa |alcun |alcuna |tali? |queste )*(tipo di )?(istruzioni|informazion[ei]|contenut[oi]|consigli|consulenza|dettagli|aiuto|assistenza|rispost[ae]|codice)"
    ),
    f"{_CANNOT} (farlo|fare (questo|ciò)|continuare){_STOP}",
    "(questa|la tua|la sua) (richiesta|domanda) (viola|va contro|è stata (bloccata|rifiutata|filtrata))",
)

EXPLAINS: Final = "significa|indica|vuol dire|si verifica quando|di solito|generalmente|si riferisce|è una? "
OFFERS: Final = ", ma |\\btuttavia\\b|\\binvece\\b|\\becco\\b"
OFFERS_NOTHING: Final = "(, ma|tuttavia,?|invece,?) (posso|potrei|sono|sarò|se |non esitare|per favore|possiamo)"
