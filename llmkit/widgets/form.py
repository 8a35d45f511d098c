"""Forms: labelled controls, each with its own message when its value is invalid."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import ipywidgets as ipw

from llmkit.errors import EditConflict, LlmkitError, ValidationError
from llmkit.widgets import html
from llmkit.widgets.browser import Confirmed, in_turn
from llmkit.widgets.panel import Sentence, button, confirm, line, shown
from llmkit.widgets.typed_values import Read, as_typed, read_date, read_price, read_text, read_whole, required

Values = dict[str, Any]

PRICES_ARE = "Prices are in US dollars per million tokens; leave unknown ones empty."
_LABEL = "150px"
_SENTENCES = 2
INDENT = "158px"
"""The left edge of controls that have a label."""


class Field:
    """A control with its label, and a message that appears when the value is rejected.

    ``name`` is the argument that the value is passed as; ``also`` lists other names that errors use for it, and the
    codes of errors that are always about it.
    """

    def __init__(self, name: str, control: ipw.DOMWidget, *, read: Read, also: Sequence[str] = ()) -> None:
        self.name = name
        self.control = control
        self.label: str = control.description
        self._read = read
        self.names = (name, *also)
        self.error = Sentence()
        self.widget = ipw.VBox([control, self.error.widget], layout=ipw.Layout(min_width="0"))

    def show(self, value: Any) -> None:
        """Put a value into the control."""
        self.error.clear()
        self.control.value = value if isinstance(value, bool) else as_typed(value)

    def value(self) -> Any:
        """The typed value, converted for the catalog; the error of an invalid one is the message for its control."""
        try:
            return self._read(self.control.value, self.label)
        except ValidationError as error:
            raise ValidationError(str(error), field=self.name) from None

    @property
    def short_label(self) -> str:
        """The label without its unit."""
        return self.label.partition(" (")[0]

    def concerns(self, error: LlmkitError) -> bool:
        """Whether an error is about this field."""
        return error.code in self.names or getattr(error, "field", None) in self.names


class Form:
    """Fields with a submit button; Enter in any field submits too.

    ``submit`` is called without arguments and reads :meth:`values` or :meth:`changes`. ``reread`` refills the form; it
    is offered when its object was changed elsewhere. Fields named in ``folded`` are shown on request, or when one of
    them is rejected. The ``others`` are not laid out or read here, but errors are shown at them. ``grid`` holds the
    fields, ``buttons`` what is below them.
    """

    def __init__(
        self,
        fields: Sequence[Field],
        *,
        others: Sequence[Field] = (),
        label: str,
        submit: Callable[[], Any],
        cancel: Callable[[], Any] | None = None,
        reread: Callable[[], Any] | None = None,
        folded: Sequence[str] = (),
        hint: str = "",
    ) -> None:
        self.fields = {field.name: field for field in fields}
        self._others = others
        self._folded = folded
        self.error = Sentence()
        self._confirmed = Confirmed([field.control for field in fields])
        self._submit = submit
        self.submit_button = button(label, self._submit_typed, primary=True)
        self.cancel_button = button("Cancel", cancel) if cancel else None
        self.more_button = button("More fields", self._unfold) if folded else None
        self.aside = ipw.VBox()
        """A place below the buttons, for questions."""
        self._reread = reread
        self._shown: Values = {}
        for field in fields:
            if isinstance(field.control, ipw.Text):
                field.control.on_msg(self._take_message)
        self.grid = ipw.GridBox(
            [field.widget for field in fields],
            layout=ipw.Layout(
                grid_template_columns="repeat(auto-fit, minmax(min(330px, 100%), 1fr))", grid_gap="2px 24px"
            ),
        )
        self.buttons = line(*filter(None, (self.submit_button, self.more_button, self.cancel_button)))
        above = [ipw.HTML(html.quiet(hint))] if hint else []
        self.widget = ipw.VBox([*above, self.grid, self.error.widget, self.buttons, self.aside])
        self._fold(visible=False)

    @in_turn
    def _take_message(self, _: ipw.Widget, content: Mapping[str, Any], __: Any) -> None:
        if content.get("event") == "submit":  # Enter
            self._submit_typed()

    def _submit_typed(self) -> None:
        self._confirmed.then(self._submit)

    def _unfold(self) -> None:
        self._fold(visible=True)
        self.fields[self._folded[0]].control.focus()

    def _fold(self, *, visible: bool) -> None:
        for name in self._folded:
            shown(self.fields[name].widget, visible)
        if self.more_button is not None:
            shown(self.more_button, not visible)

    def __getitem__(self, name: str) -> Field:
        return self.fields[name]

    def show(self, values: Mapping[str, Any]) -> None:
        """Fill the fields; those without a value are emptied."""
        self.error.clear()
        self.withdraw()
        for field in self.fields.values():
            field.show(values.get(field.name))
        self._shown = {name: field.control.value for name, field in self.fields.items()}

    def values(self) -> Values:
        """Every field's value. Every invalid field shows its message, and the first error is raised."""
        values, errors = self.check()
        if errors:
            raise errors[0]
        return values

    def check(self, warned: Sequence[str] = ()) -> tuple[Values, list[ValidationError]]:
        """Like :meth:`read`, but invalid fields show their errors too. The message of a field named in ``warned`` stays
        while its value is valid.
        """
        self.error.clear()
        values, errors = self.read()
        for name, field in self.fields.items():
            if name in errors:
                self._say(field, str(errors[name]))  # not cleared first: an unchanged message must not flicker
            elif name not in warned:
                field.error.clear()
        return values, list(errors.values())

    def read(self) -> tuple[Values, dict[str, ValidationError]]:
        """The valid values, and the errors of the others."""
        values, errors = {}, {}
        for name, field in self.fields.items():
            try:
                values[name] = field.value()
            except ValidationError as error:
                errors[name] = error
        return values, errors

    def changes(self) -> Values:
        """The values of the fields that were changed since they were filled. Raises like :meth:`values`."""
        return {name: value for name, value in self.values().items() if self.touched(name)}

    def touched(self, *names: str) -> bool:
        """Whether one of these fields was changed since it was filled."""
        return any(self.fields[name].control.value != self._shown.get(name) for name in names)

    def refuse(self, error: LlmkitError) -> None:
        """Show each problem at the field that it concerns, or below them all, and go to the first."""
        places: dict[Field | None, list[str]] = {}
        for problem in getattr(error, "problems", (error,)):
            field = next((each for each in (*self._others, *self.fields.values()) if each.concerns(problem)), None)
            places.setdefault(field, []).append(self.worded(problem))
        for field, sentences in places.items():
            rest = len(sentences) - _SENTENCES
            text = " ".join([*sentences[:_SENTENCES], *([f"And {rest} more like this."] if rest > 0 else [])])
            if field is None:
                self.error.show(text, "bad")
            else:
                self._say(field, text)
        first = next(iter(places))
        (first.control if first else self.submit_button).focus()  # it may be above the screen
        if isinstance(error, EditConflict):
            self._offer_reread()

    def say_changed(self) -> None:
        """Say that what the form shows was changed elsewhere, and offer to fill it again."""
        self.error.show("This was changed elsewhere.", "warn")
        self._offer_reread()

    def _offer_reread(self) -> None:
        if self._reread:
            self.aside.children = (line(button("Reload", self._reread)),)

    def ask(self, question: str, label: str, on_yes: Callable[[], Any]) -> None:
        """Ask a question below the buttons; ``label`` is the text of the confirming button."""
        self.aside.children = (confirm(question, label, on_yes, self.withdraw),)

    def withdraw(self) -> None:
        """Remove the question."""
        self.aside.children = ()

    def worded(self, error: LlmkitError) -> str:
        """The error's message, with the labels of fields instead of argument names."""
        labels = {name: field.short_label for field in self.fields.values() for name in field.names}
        text = str(error)
        for name in sorted(labels, key=len, reverse=True):  # price_tiers.above before price_tiers
            word = re.escape(name)
            anywhere = rf"|\b{word}\b" if "_" in name else ""  # others are ordinary words: budget, name
            text = re.sub(rf"^{word}\b=?|\b{word}={anywhere}", labels[name], text)
        return text

    def _say(self, field: Field, text: str) -> None:
        field.error.show(text, "bad")
        if field.name in self._folded:
            self._fold(visible=True)


# --- fields by kind -------------------------------------------------------------------------------------------------


def text_field(
    name: str, label: str, *, read: Read = read_text, hint: str = "", also: Sequence[str] = (), needed: bool = False
) -> Field:
    """One line of text, converted by ``read``; empty is ``None``, or rejected if ``needed``."""
    control = ipw.Text(
        description=label,
        placeholder=hint,
        style={"description_width": _LABEL},
        layout=ipw.Layout(width="auto", min_width="0"),
    )
    return Field(name, control, read=required(read) if needed else read, also=also)


def name_field(hint: str, default: str | None = None) -> Field:
    """The display name; empty is ``default``, which ``hint`` describes."""
    return text_field(
        "display_name", "Display name", hint=hint, read=lambda typed, label: read_text(typed, label) or default
    )


price_field = partial(text_field, read=read_price, hint="$ per million tokens")
"""US dollars per million tokens; empty is ``None``: unknown."""
whole_field = partial(text_field, read=read_whole)
"""A whole number of at least 1."""
date_field = partial(text_field, read=read_date, hint="YYYY-MM-DD")
"""A date as ISO text."""


def tick_field(name: str, label: str) -> Field:
    """Yes or no."""
    beside = f"min({INDENT}, 100% - 175px)"  # the whole label is shown in a narrow column too
    control = ipw.Checkbox(
        False, description=label, indent=False, layout=ipw.Layout(width="auto", margin=f"2px 2px 2px {beside}")
    )
    return Field(name, control, read=lambda value, _: bool(value))


def choice_field(name: str, label: str, options: Sequence[tuple[str, Any]]) -> Field:
    """One of several, which may be ``None``."""
    control = choice(label, [(text, value or "") for text, value in options])
    return Field(name, control, read=lambda value, _: value or None)


def choice(label: str, options: Sequence[tuple[str, Any]], *, label_width: str = _LABEL) -> ipw.Dropdown:
    """A dropdown in the style of forms. Options are not ``None``, which ipywidgets takes for no selection."""
    style = {"description_width": label_width}
    return ipw.Dropdown(description=label, options=options, style=style, layout=ipw.Layout(width="auto", min_width="0"))
