"""Portuguese, of Brazil and of Portugal."""

from __future__ import annotations

from typing import Final

_END: Final = " ?[.!…]* ?$"
_STOP: Final = " ?([.!,;:(—–-]|$)"
_NOW: Final = "(atualmente |temporariamente |no momento |neste momento |infelizmente |momentaneamente )*"
_KIND: Final = (
    "( interno| inesperado| desconhecido| técnico| do servidor| no servidor| de rede| do sistema| de conexão)*"
)
_WISH: Final = "(solicitação|solicitações|pedidos?|perguntas?|consultas?|mensagem|tarefas?)"
_CANNOT: Final = (
    "((eu )?não (posso|poderei|consigo|sou capaz de|estou autorizad[oa] a|me é possível|tenho permissão para))"
)

PREFACES: Final = (
    "(sinto|lamento|lamentamos|sentimos)( muito| imenso)?",
    "(peço |pedimos |as minhas |minhas |nossas )?desculpas?",
    "desculpe?",
    "infelizmente",
    "perdão",
    "(ops|opa|oops)",
    "como (uma? )?(ia|inteligência|modelo|assistente)[^.,]{0,50}",
)
PREFACE_TAIL: Final = (
    "( (por isso|pelo (transtorno|inconveniente|incómodo|incômodo)))?[,;:.!…—–-]* ?((mas|que|porém,?) )?"
)

ERRORS: Final = (
    (
        f"(ocorreu|houve|aconteceu|encontrei|encontramos|tive|tivemos) (um|uma|algum) (erro|problema|falha|exceção){_KIND}"
        f"({_STOP}| (ao|durante|enquanto|inesperado|e|(no|na|com) (servidor|sistema|serviço|conexão|sua|seu|nosso|nossa|a sua|o seu))\\b)"
    ),
    f"algo (deu|correu|saiu) (errado|mal)({_END}|[.!,;—–-]+ | (ao|no|na|com|do nosso)\\b)",
    f"(estou|estamos) {_NOW}(com|enfrentando|passando por|a ter|tendo) (algumas |alguns |uma )?(dificuldades|problemas|alta demanda|instabilidade)",
    (
        f"(o|nosso|este|a) (serviço|servidor|sistema|modelo|assistente|api) (está|encontra-se|não está) {_NOW}(indisponível|disponível|sobrecarregad[oa]|fora do ar"
        f"|em manutenção){_STOP}"
    ),
    f"(serviço|servidor) (temporariamente )?indisponível{_STOP}",
    f"erro{_KIND} ?([:!]|$|\\.$)",
    f"erro( http)? [45]\\d\\d{_STOP}",
    "(a|sua|o|seu) (solicitação|conexão|pedido|requisição) (falhou|expirou|não pôde ser)",
    f"(tempo (limite )?(de espera )?(esgotado|excedido)|muitas solicitações|alta demanda|limite de (requisições|uso) (atingido|excedido)){_STOP}",
    f"não (foi possível|consegui|conseguimos|pude) (processar|gerar|completar|obter|concluir) (sua|seu|a|o|uma|esta) ({_WISH}|resposta)",
    f"(por favor,? )?(tente|tenta)( novamente| de novo)?( mais tarde| em (alguns|instantes|breve)( minutos| instantes| momentos)?){_END}",
)

REFUSALS: Final = (
    f"{_CANNOT} (ajudar|ajudá-lo|ajudá-la|te ajudar|lhe ajudar|auxiliar|assistir|colaborar)({_STOP}| (com|a|em|você|nisso|nessa)\\b)",
    f"{_CANNOT} (responder( a)?|processar|atender( a)?|cumprir|realizar|completar) (essa|esta|esse|este|sua|seu|a essa|tal) (tipo de )?{_WISH}",
    (
        f"{_CANNOT} (fornecer|gerar|criar|escrever|compartilhar|partilhar|oferecer|dar|discutir|produzir) "
        "(esse |este |essa |esta |nenhum |nenhuma )*(tipo de )?(instruções|informaç(ão|ões)|conteúdos?|conselhos?|aconselhamento|detalhes|ajuda|assistência|respostas?|código)"
    ),
    f"{_CANNOT} (fazer (isso|isto)|continuar){_STOP}",
    f"(essa|esta|sua) ({_WISH}) (viola|vai contra|foi (bloqueada|rejeitada|filtrada))",
)

EXPLAINS: Final = "significa|indica|quer dizer|costuma|ocorre quando|geralmente|refere-se|é uma? "
OFFERS: Final = ", mas |\\bporém\\b|\\bno entanto\\b|\\baqui (está|estão)\\b"
OFFERS_NOTHING: Final = (
    "(, mas|porém,?|no entanto,?) (posso|poderia|estou|se |fico|ficarei|não hesite|por favor|podemos)"
)
