r"""Escape the backslashes of LaTeX that a model wrote into JSON as they are. No I/O.

In JSON `"\frac"` is a form feed and "rac", and `"\("` is an error. A backslash that begins LaTeX is
doubled here, so that the JSON says what the model meant. `\b` and `\f` never mean the control
characters; `\n`, `\r` and `\t` begin LaTeX when a known command follows. Where the command could as
well be a line break and a word (`\nu`, `\ne`), the text around it decides.
"""

# ruff: noqa: RUF001 - Chinese punctuation is the matter here
import re

ESCAPE = re.compile(r"\\(?:(?P<code>u[0-9a-fA-F]{4})|[A-Za-z]++|.|\Z)", re.DOTALL)
ESCAPED_LATEX = re.compile(r"(?<!\\)(?:\\\\)++[A-Za-z(\[{}|,;!%&_^]")
LATEX_SURELY = re.compile(r"\\(?:[ac-eg-mo-qsv-zA-Z][A-Za-z]|[bf][a-z]{2}|[(\[{}|,;!%&_^])")
COMMANDS_LIKE_LINE_BREAKS = frozenset(
    """
    nabla natural ncong nearrow neq newcommand newline ngeq ngtr nleq nleftarrow nobreak nolimits
    nonumber norm normalsize not notag notin nprec nrightarrow nsubseteq nsucc nsupseteq nvdash
    nwarrow nRightarrow nLeftarrow nleftrightarrow nLeftrightarrow nVdash nvDash nVDash nleqslant
    ngeqslant nsupset noindent
    """.split()
)
# a line break and a word, too
COMMANDS_LIKE_WORDS = frozenset("ne neg nexists ni nless nmid nparallel nsim nsubset nu".split())
COMMANDS_LIKE_TABS = frozenset(
    """
    tag tan tanh tau tbinom text textbf textcolor textit textnormal textrm textsf textsl textstyle
    texttt textup tfrac therefore theta thetasym thickapprox thicksim thinspace tilde times tiny to
    top triangle triangledown triangleleft trianglelefteq triangleq triangleright trianglerighteq
    tt twoheadleftarrow twoheadrightarrow
    """.split()
)
TAB_AND_WORD = frozenset(["tag", "tan", "to", "top", "tt"])
COMMANDS_LIKE_RETURNS = frozenset(
    """
    raise raisebox rangle rbrace rbrack rceil ref renewcommand restriction rfloor rgroup rho right
    rightarrow rightarrowtail rightharpoondown rightharpoonup rightleftarrows rightleftharpoons
    rightrightarrows rightsquigarrow rightthreetimes risingdotseq rlap rm rmoustache root rtimes
    rule rvert rVert
    """.split()
)
SENTENCE_ENDS = ".!?:;。！？：；"
BEFORE_COMMAND = " ({[$=+-*/<>^_&|"  # a line break seldom follows these
MOST_COMMAND_CHARS = 24


def escape_latex(text: str) -> str:
    """Return JSON text in which the backslashes of LaTeX are escaped; the rest is unchanged."""
    if "\\" not in text:
        return text
    return ESCAPE.sub(LatexEscaper(text).escape_match, text)


class LatexEscaper:
    """The facts about one text that decide what its backslashes mean."""

    def __init__(self, text: str) -> None:
        self._text = text
        has_escaped_latex = ESCAPED_LATEX.search(text) is not None
        # the model writes LaTeX as it is: what could be either is LaTeX
        self._is_raw = not has_escaped_latex and (
            text.count("$") > 1 or LATEX_SURELY.search(text) is not None
        )
        self._has_escaped_latex = has_escaped_latex
        self._has_tabs = any(
            match[0][1:] not in COMMANDS_LIKE_TABS for match in re.finditer(r"\\t[A-Za-z]*", text)
        )

    def escape_match(self, match: re.Match[str]) -> str:
        r"""Return one escape as JSON: as it is, or with its backslash doubled."""
        escape = match[0]
        name = escape[1:]
        if name == "\\":
            return escape * 2 if self._is_row_end(match.end()) else escape
        if name == "'":
            return "'"
        if name in ('"', "/", "") or match["code"]:
            return escape
        if name[0] in "nrt" and not self._is_command(name, match.start()):
            return escape
        return "\\" + escape

    def _is_row_end(self, end: int) -> bool:
        r"""Return whether `\\` is LaTeX's end of a line: before a space in a text of raw LaTeX."""
        return self._is_raw and self._text[end : end + 1].isspace()

    def _is_command(self, name: str, start: int) -> bool:
        """Return whether the letters after a backslash are a command of LaTeX."""
        if len(name) > MOST_COMMAND_CHARS:
            return False
        if name[0] == "r":
            return name in COMMANDS_LIKE_RETURNS
        if name[0] == "t":
            is_tab = name in TAB_AND_WORD and (self._has_tabs or self._has_escaped_latex)
            return name in COMMANDS_LIKE_TABS and not is_tab
        if name in COMMANDS_LIKE_WORDS:
            return self._is_likely_command(self._text[start - 1 : start])
        return name in COMMANDS_LIKE_LINE_BREAKS

    def _is_likely_command(self, previous_char: str) -> bool:
        """Return whether a command that may be a line break and a word is a command."""
        if self._has_escaped_latex or not previous_char or previous_char in SENTENCE_ENDS:
            return False
        return self._is_raw or previous_char in BEFORE_COMMAND
