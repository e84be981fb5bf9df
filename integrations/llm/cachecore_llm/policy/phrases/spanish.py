"""Spanish."""

from __future__ import annotations

from typing import Final

_END: Final = " ?[.!…]* ?$"
_STOP: Final = " ?([.!,;:(—–-]|$)"
_NOW: Final = "(actualmente |temporalmente |en este momento |ahora mismo |lamentablemente |momentáneamente )*"
_KIND: Final = (
    "( interno| inesperado| desconocido| técnico| del servidor| de servidor| de red| del sistema| de conexión)*"
)
_WISH: Final = "(solicitud|petición|pregunta|consulta|mensaje|tarea)(es)?s?"
_CANNOT: Final = (
    "(no (puedo|podré|podría|me es posible|soy capaz de|estoy (autorizad[oa]|en condiciones|programad[oa]|capacitad[oa]) (a|de|para)"
    "|estoy en capacidad de|tengo permitido)|me es imposible|debo negarme a|me niego a)"
)

PREFACES: Final = (
    "(lo )?(siento|lamento|lamentamos)( mucho| muchísimo)?",
    "(mis |nuestras )?disculpas?",
    "(me |nos )?disculp(o|amos|a|e|en)",
    "perdón",
    "perdona",
    "lamentablemente",
    "desafortunadamente",
    "por desgracia",
    "[¡]?(ups|vaya|uy|oops)",
    "como (ia|inteligencia|modelo|asistente)[^.,]{0,50}",
)
PREFACE_TAIL: Final = (
    "( (por (las molestias|los inconvenientes|eso|esto|la molestia)))?[,;:.!…—–-]* ?((pero|que|sin embargo,?) )?"
)

ERRORS: Final = (
    (
        f"(se ha producido|ocurrió|ha ocurrido|se produjo|hubo|ha habido) (un|una|algún) (error|problema|fallo|inconveniente|excepción){_KIND}"
        f"({_STOP}| (al|mientras|durante|y|inesperado|(en|con) (el (servidor|sistema|servicio)|nuestr[oa]|su|tu|la conexión))\\b)"
    ),
    f"(he|hemos) (encontrado|tenido|experimentado) (un|una|algún) (error|problema|fallo){_KIND} (al|mientras|con (su|tu|el servidor))\\b",
    f"(encontré|tuve|tuvimos) (un|una) (error|problema){_KIND} (al|mientras|con (su|tu|el servidor))\\b",
    f"algo (salió|ha salido|fue|ha ido) mal({_END}|[.!,;—–-]+ |\\b (al|en|con|por)\\b)",
    f"(estoy|estamos) {_NOW}(experimentando|teniendo|sufriendo) (algunas |algunos |una |un )?(dificultades|problemas|alta demanda|gran demanda|fallos)",
    f"(tenemos|tengo) {_NOW}(dificultades|problemas) técnic[oa]s",
    (
        f"(el|nuestro|este|la) (servicio|servidor|sistema|modelo|asistente|api) (está|se encuentra|no está) {_NOW}(no )?(disponible|sobrecargad[oa]|saturad[oa]"
        f"|caíd[oa]|fuera de servicio|en mantenimiento)( {_NOW})?{_STOP}"
    ),
    "(el|nuestro|este) (servicio|servidor|sistema|modelo) no (está disponible|responde)",
    f"(servicio|servidor) (temporalmente )?no disponible{_STOP}",
    "error( interno| inesperado| desconocido| técnico| del servidor| de servidor| de red| del sistema| de conexión)+ ?([:!]|\\.?$)",
    f"error( http)? [45]\\d\\d{_STOP}",
    "(la|su|tu) (solicitud|petición|conexión|consulta) (ha fallado|falló|ha expirado|expiró|no (pudo|se pudo|ha podido))",
    f"(se ha agotado|se agotó|tiempo de espera) (el tiempo de espera|agotado|excedido){_STOP}",
    f"(demasiadas solicitudes|alta demanda|límite de (solicitudes|uso|velocidad) (alcanzado|excedido|superado)|cuota (excedida|superada)){_STOP}",
    (
        f"no (he podido|hemos podido|pude|pudimos|se pudo|se ha podido) (procesar|generar|completar|obtener|responder a?|conectar con) "
        f"(su|tu|la|una|el|esta) ({_WISH}|respuesta|servidor|servicio|modelo)"
    ),
    (
        "((por favor|favor),? )?(inténtalo|inténtelo|intente|intenta|vuelva a intentarlo|vuelve a intentarlo|intentar)( de nuevo| nuevamente| otra vez)?"
        f"(,? (más tarde|luego|en (unos|unas|breve|un) ?(minutos|momentos?|instantes|segundos)?)){_END}"
    ),
)

REFUSALS: Final = (
    f"{_CANNOT} (ayudar|ayudarte|ayudarle|ayudarlo|ayudarla|ayudaros|asistir|asistirte|asistirle|apoyar|colaborar)({_STOP}| (con|a|en)\\b)",
    (
        f"{_CANNOT} (responder a?|contestar a?|procesar|cumplir( con)?|satisfacer|atender|realizar|completar) (esa|esta|ese|este|su|tu|dicha|ese tipo de|"
        f"este tipo de|esas|estas) (tipo de )?({_WISH}|contenido)"
    ),
    (
        f"{_CANNOT} (proporcionar|proporcionarte|proporcionarle|generar|crear|escribir|compartir|ofrecer|ofrecerte|dar|darte|brindar|brindarte|discutir|producir) "
        "(ese |este |esa |esta |ningún |ninguna )*(tipo de )?(instrucciones|información|contenidos?|consejos?|asesoramiento|asesoría|detalles|ayuda|asistencia|respuestas?|código)"
    ),
    f"{_CANNOT} (hacer (eso|esto|lo que)|hacerlo|continuar){_STOP}",
    f"(esta|su|tu|esa) ({_WISH}) (infringe|viola|va en contra|ha sido (bloqueada|rechazada|filtrada)|fue (bloqueada|rechazada))",
    "(eso|esto) (va en contra de|es contrario a|infringe) mis (principios|directrices|normas|políticas)",
)

EXPLAINS: Final = "significa|indica|quiere decir|suele|ocurre cuando|se produce cuando|generalmente|se refiere|es una? "
OFFERS: Final = ", pero |\\bsin embargo\\b|\\ben su lugar\\b|\\baquí (está|están|tiene|tienes)\\b|\\bno obstante\\b"
OFFERS_NOTHING: Final = "(, pero|sin embargo,?|no obstante,?) (puedo|podría|estoy|estaré|estaría|si |no dude|no dudes|con gusto|me encantaría|podemos|por favor)"
