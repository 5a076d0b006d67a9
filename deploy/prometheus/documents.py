"""Documents: plain data as YAML that people read, with expressions of several lines as blocks."""

from __future__ import annotations

import yaml

Data = dict[str, object]


class _Dumper(yaml.SafeDumper):
    """Indents lists below their keys, and repeats what is shared instead of pointing at it."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def written(*documents: Data, about: str = "") -> str:
    """Return YAML, the documents parted by `---`.

    Args:
        about: comments at the top, a line each.
    """
    head = "".join(f"# {line}".rstrip() + "\n" for line in about.splitlines())
    # Templates are long lines: one that is folded is hard to search for.
    texts = (yaml.dump(one, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=4096) for one in documents)
    return head + "---\n".join(texts)
