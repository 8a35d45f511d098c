"""Forms: labelled controls, each with its own sentence when its value makes no sense."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

import ipywidgets as ipw

from llmkit.errors import EditConflict, LlmkitError, ValidationError
from llmkit.money.pricing import dollars
from llmkit.widgets.browser import Confirmed, in_turn
from llmkit.widgets.panel import Sentence, button, line

Values = dict[str, Any]
Read = Callable[[Any, str], Any]
"""From what a control holds, and its label, to the value that the catalog is given; raises ValidationError."""

PER_MILLION = "$ per million tokens; unknown"
_LABEL = "150px"


class Field:
    """A control with its label, and a sentence that appears when the value is refused.

    ``name`` is the argument that the value becomes; ``also`` are other names under which errors speak of it.
    """

    def __init__(self, name: str, control: ipw.DOMWidget, *, read: Read, also: Sequence[str] = ()) -> None:
        self.name = name
        self.control = control
        self.label: str = control.description
        self._read = read
        self._names = (name, *also)
        self.error = Sentence()
        self.widget = ipw.VBox([control, self.error.widget], layout=ipw.Layout(min_width="0"))

    def show(self, value: Any) -> None:
        """Put a value into the control."""
        self.error.clear()
        self.control.value = value if isinstance(value, bool) or self._is_choice else _typed(value)

    def value(self) -> Any:
        """What was typed, as the catalog takes it.

        Raises:
            ValidationError: it makes no sense; with the sentence for beside the control.
        """
        try:
            return self._read(self.control.value, self.label)
        except ValidationError as error:
            raise ValidationError(str(error), field=self.name) from None

    def refuse(self, error: LlmkitError) -> None:
        """Put the error's sentence beside the control, in the words of the form."""
        self.error.show(_in_words(error, self.label), "bad")

    def concerns(self, error: LlmkitError) -> bool:
        """Whether an error is about this field."""
        return getattr(error, "field", None) in self._names

    @property
    def _is_choice(self) -> bool:
        return isinstance(self.control, ipw.Dropdown)


class Form:
    """Fields with a button that submits them; Enter in any of them does too.

    ``submit`` is called without arguments; it reads :meth:`values` or :meth:`changes`. ``reread`` fills the form
    afresh; it is offered when what the form shows was changed elsewhere.
    """

    def __init__(
        self,
        fields: Sequence[Field],
        *,
        label: str,
        submit: Callable[[], Any],
        cancel: Callable[[], Any] | None = None,
        reread: Callable[[], Any] | None = None,
    ) -> None:
        self.fields = {field.name: field for field in fields}
        self.error = Sentence()
        self._confirmed = Confirmed([field.control for field in fields])
        self._submit = submit
        self.submit_button = button(label, self._submit_typed, primary=True)
        self.cancel_button = button("Cancel", cancel) if cancel else None
        self.aside = ipw.VBox()
        """A place below the buttons, for questions."""
        self._reread = reread
        self._shown: Values = {}
        for field in fields:
            if isinstance(field.control, ipw.Text):
                field.control.on_msg(self._take_message)
        grid = ipw.GridBox(
            [field.widget for field in fields],
            layout=ipw.Layout(grid_template_columns="repeat(auto-fit, minmax(280px, 1fr))", grid_gap="2px 24px"),
        )
        buttons = line(*filter(None, (self.submit_button, self.cancel_button)))
        self.widget = ipw.VBox([grid, self.error.widget, buttons, self.aside])

    @in_turn
    def _take_message(self, _: ipw.Widget, content: Mapping[str, Any], __: Any) -> None:
        if content.get("event") == "submit":  # Enter
            self._submit_typed()

    def _submit_typed(self) -> None:
        self._confirmed.then(self._submit)

    def __getitem__(self, name: str) -> Field:
        return self.fields[name]

    def show(self, values: Mapping[str, Any]) -> None:
        """Fill the fields; what is not named is emptied."""
        self.error.clear()
        self.aside.children = ()
        for field in self.fields.values():
            field.show(values.get(field.name))
        self._shown = {name: field.control.value for name, field in self.fields.items()}

    def values(self) -> Values:
        """Every field's value.

        Raises:
            ValidationError: one makes no sense; all that make none have their sentence beside them.
        """
        self.error.clear()
        values, errors = {}, []
        for name, field in self.fields.items():
            try:
                values[name] = field.value()
            except ValidationError as error:
                field.refuse(error)  # without clearing it first: a sentence that stays does not flicker
                errors.append(error)
            else:
                field.error.clear()
        if errors:
            raise errors[0]
        return values

    def changes(self) -> Values:
        """The values of the fields that hold something else than they were filled with. Raises as :meth:`values`."""
        return {name: value for name, value in self.values().items() if self.touched(name)}

    def touched(self, *names: str) -> bool:
        """Whether one of these fields holds something else than it was filled with."""
        return any(self.fields[name].control.value != self._shown.get(name) for name in names)

    def refuse(self, error: LlmkitError) -> None:
        """Put an error beside the field that it is about, or below them all."""
        for field in self.fields.values():
            if field.concerns(error):
                field.refuse(error)
                return
        self.error.show(str(error), "bad")
        if isinstance(error, EditConflict) and self._reread:
            self.aside.children = (button("Read it again", self._reread),)


# --- fields by kind -------------------------------------------------------------------------------------------------


def text_field(name: str, label: str, *, hint: str = "", also: Sequence[str] = (), needed: bool = False) -> Field:
    """One line of text; empty is ``None``, or refused when it is ``needed``."""
    return Field(name, _text(label, hint), read=required(read_text) if needed else read_text, also=also)


def price_field(name: str, label: str, *, hint: str = PER_MILLION, also: Sequence[str] = ()) -> Field:
    """US dollars per million tokens; empty is ``None``: unknown."""
    return Field(name, _text(label, hint), read=read_price, also=also)


def whole_field(name: str, label: str, *, hint: str = "", also: Sequence[str] = (), needed: bool = False) -> Field:
    """A whole number of at least 1; empty is ``None``, or refused when it is ``needed``."""
    return Field(name, _text(label, hint), read=required(read_whole) if needed else read_whole, also=also)


def date_field(name: str, label: str) -> Field:
    """A date as ISO text; empty is ``None``."""
    return Field(name, _text(label, "YYYY-MM-DD"), read=read_date)


def tick_field(name: str, label: str) -> Field:
    """Yes or no."""
    control = ipw.Checkbox(
        False, description=label, indent=False, layout=ipw.Layout(width="auto", margin=f"2px 2px 2px {_LABEL}")
    )
    return Field(name, control, read=lambda value, _: bool(value))


def choice_field(name: str, label: str, options: Sequence[tuple[str, Any]], also: Sequence[str] = ()) -> Field:
    """One of several."""
    return Field(name, choice(label, options), read=lambda value, _: value, also=also)


def choice(label: str, options: Sequence[tuple[str, Any]], *, label_width: str = _LABEL) -> ipw.Dropdown:
    """A dropdown as forms have it."""
    style = {"description_width": label_width}
    return ipw.Dropdown(description=label, options=options, style=style, layout=ipw.Layout(width="auto", min_width="0"))


def _text(label: str, hint: str) -> ipw.Text:
    return ipw.Text(
        description=label,
        placeholder=hint,
        style={"description_width": _LABEL},
        layout=ipw.Layout(width="auto", min_width="0"),
    )


# --- reading what was typed -----------------------------------------------------------------------------------------


def read_text(typed: str, label: str) -> str | None:
    """Text without the blanks around it."""
    return typed.strip() or None


def read_price(typed: str, label: str) -> Decimal | None:
    """A price as people type it: ``0.25``, ``$1.50``."""
    text = typed.strip().removeprefix("$").strip()
    if not text:
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or number < 0:
        raise ValidationError(f"{label}: type dollars per million tokens, such as 0.25; leave it empty when unknown.")
    return number


def read_whole(typed: str, label: str) -> int | None:
    """A count as people type it: ``60``, ``200,000``."""
    text = typed.strip().replace(",", "").replace("_", "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise ValidationError(f"{label}: type a whole number of at least 1, such as 60.")
    return int(text)


def required(read: Read) -> Read:
    """The same, but empty is refused."""

    def read_required(typed: Any, label: str) -> Any:
        value = read(typed, label)
        if value is None:
            raise ValidationError(f"{label} cannot be empty.")
        return value

    return read_required


def read_date(typed: str, label: str) -> date | None:
    """A date such as ``2027-01-14``."""
    text = typed.strip()
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise ValidationError(f"{label}: type a date such as 2027-01-14.") from None


def _typed(value: Any) -> str:
    """A value as it would have been typed."""
    if value is None:
        return ""
    return dollars(value, exact=True).removeprefix("$").replace(",", "") if isinstance(value, Decimal) else str(value)


def _in_words(error: LlmkitError, label: str) -> str:
    """The error's sentence with the form's label in place of the argument's name."""
    name = getattr(error, "field", None)
    text = str(error)
    return label + text[len(name) :] if name and text.startswith(name) else text
