"""What a person does with a panel, through its widgets."""

import ipywidgets as ipw


def type_into(form, **typed):
    """Put text into fields of a form, as it would be typed."""
    for name, text in typed.items():
        form[name].control.value = text


def press_enter(field):
    """Enter in a field, as the browser reports it."""
    field.control._handle_custom_msg({"event": "submit"}, [])


def buttons(widget):
    """All buttons within a widget that are shown, by what is written on them."""
    found = {}
    for child in getattr(widget, "children", ()):
        if child.layout.display != "none":
            found |= {child.description: child} if isinstance(child, ipw.Button) else buttons(child)
    return found


def text_of(widget):
    """All text and HTML that a widget shows."""
    if widget.layout.display == "none":
        return ""
    own = getattr(widget, "value", "") if isinstance(widget, ipw.HTML) else getattr(widget, "description", "")
    return "\n".join([str(own), *map(text_of, getattr(widget, "children", ()))])


def errors(form):
    """The sentences beside the fields of a form, by field."""
    return {name: field.error.text for name, field in form.fields.items() if field.error.text}
