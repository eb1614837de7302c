#!/usr/bin/env python3
"""Writes tests/golden/templates/{language,families,models}.json: what Jinja2, set up as transformers'
apply_chat_template sets it up, makes of templates.

    python make_templates.py [ASSETS]      (transformers 4.46.3, jinja2 3.1.6)

language.json: small templates, one point of the language each; "error" where Jinja refuses.
families.json: templates of the families below (templates/*.jinja) over the conversations.
models.json: with ASSETS, the templates and tokenizers of tokenizers/*: texts, and ids of
apply_chat_template(tokenize=True) for content without special tokens. The tests find them there.
"""
import copy
import datetime
import json
import os
import sys

from transformers.utils import chat_template_utils

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "templates")
NOW = datetime.datetime(2024, 7, 9, 15, 4, 5)


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


chat_template_utils.datetime = Clock

VARS = {
    "m": [{"role": "user", "content": " Hello, World! "}, {"role": "assistant", "content": "x</think>\n\ny"}],
    "d": {"a": 1, "b": [1, 2.5, None, True], "items": "key", "c": {"x": "ü\"\\\n\t\u0001é😀"}},
    "s": "The quick brown fox",
    "u": "Grüße, мир! 世界 😀",
    "e": "",
    "n": 7,
    "f": 0.1,
    "t": True,
    "z": None,
    "l": [3, 1, 2],
    "w": ["b", "A", "a", "C"],
    "bos_token": "<s>",
}

LANGUAGE = r"""
plain
{{ s }}
{{ s }}

{{ 1 + 2 * 3 ** 2 // 4 % 5 - -1 }}
{{ 7 / 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 2 ** 10 }} {{ 1.5 + 1 }} {{ 1e3 }} {{ 1e22 }} {{ f }} {{ 3.0 }} {{ 1e-5 }} {{ 123456789012345680.0 }}
{{ 'a' 'b' ~ 1 ~ none ~ true ~ [1, 'x', "it's"] ~ {'k': none} ~ (1,) }}
{{ "a\n\t\\\"\x41\u00e9\'" }}{{ 'q\d' }}
{{ s[4:9] }}|{{ s[-3:] }}|{{ s[::-1] }}|{{ u[1] }}|{{ u[-1] }}|{{ u[2:9:2] }}|{{ l[:-1] }}|{{ l[::-1] }}|{{ l[10:] }}|{{ m[-1].role }}
{{ s.upper() }} {{ s.lower() }} {{ s.title() }} {{ s.capitalize() }} {{ s | title }} {{ "hello-world (foo) it's" | title }} {{ "hello-world it's".title() }}
{{ u | upper if false else u.replace('ü', 'u') }} {{ 'привет' | upper }} {{ 'ÉCOLE' | lower | capitalize }}
{{ m[0].content | trim }}|{{ m[0]['content'].strip() }}|{{ m[0].content.lstrip() }}|{{ m[0].content.rstrip(' !') }}|{{ 'xxaxx' | trim('x') }}
{{ m[1].content.split('</think>')[-1].lstrip('\n') }} {{ s.split() }} {{ s.split(' ', 1) }} {{ ' a  b '.split(' ') }} {{ s.rsplit(' ', 1) }} {{ 'a\nb\r\nc\n'.splitlines() }}
{{ s.startswith('The') }} {{ s.endswith(('x', 'y')) }} {{ s.find('q') }} {{ s.rfind('o') }} {{ s.count('o') }} {{ 'x'.join(['a', 'b']) }} {{ s.removeprefix('The ') }} {{ 'a-b-c'.partition('-') }}
{{ 'aXbXc'.replace('X', '--', 1) }} {{ 'abc' | replace('', '-') }} {{ 'aaa' | replace('a', 'b', 2) }}
{{ d | tojson }}
{{ d | tojson(indent=2) }}
{{ d | tojson(ensure_ascii=True, sort_keys=True) }}
{{ d | tojson(separators=(',', ':')) }} {{ [] | tojson(indent=4) }} {{ {} | tojson }} {{ (1, 'a') | tojson }} {{ 'é/<b>' | tojson }}
{{ d }} {{ l }} {{ u | list }} {{ [u] }} {{ ["\x01\u200b'"] }}
{{ d.items() | list }} {{ d['items'] }} {{ d.keys() | list }} {{ d.get('q', 5) }} {{ d.get('q') }} {{ d.values() | list | length }}
{% for k, v in d.items() %}{{ loop.index }}{{ k }}={{ v }}{{ ', ' if not loop.last }}{% endfor %}
{% for k in d %}{{ k }}{% endfor %} {% for c in 'añb' %}[{{ c }}]{% endfor %}
{% for x in l if x > 1 %}{{ loop.index0 }}/{{ loop.length }}:{{ x }} {{ loop.first }} {{ loop.revindex }} {{ loop.previtem }} {{ loop.nextitem }};{% endfor %}
{% for x in [] %}x{% else %}none{% endfor %}
{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% if loop.index == 3 %}{% break %}{% endif %}{% endfor %}
{% for x in range(3) %}{% for y in range(x, 4, 2) %}{{ loop.index }}{{ y }}{% endfor %}{{ loop.index }};{% endfor %}
{% set x = 1 %}{% for i in l %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}
{% set ns = namespace(x=1, found=false) %}{% for i in l %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}{{ ns.found }}
{% if not t %}a{% elif n > 5 and n < 10 %}b{% else %}c{% endif %}{% if x is defined %}{% set q = 1 %}{% else %}{% set q = 2 %}{% endif %}{{ q }}
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set c %}block {{ a }}{% endset %}{{ c | upper }}{% set g | upper %}low{% endset %}{{ g }}
{% macro f(a, b=2, c=none) %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ f(1) }}{{ f(1, c=3) }}{{ f(1, 2, 3) }}{{ f() }}
{% macro r(n) %}{{ n }}{% if n > 0 %}{{ r(n - 1) }}{% endif %}{% endmacro %}{{ r(3) }}
{{ undefined_name }}|{{ undefined_name is defined }}|{{ undefined_name | default('d') }}|{{ e | default('d', true) }}|{{ m[0].nope is undefined }}|{{ undefined_name ~ 'x' }}|{{ undefined_name | length }}
{{ undefined_name.x }}
{{ undefined_name + 'x' }}
{{ 'a' + 1 }}
{{ n is number }} {{ t is number }} {{ n is integer }} {{ f is float }} {{ t is boolean }} {{ s is string }} {{ d is mapping }} {{ l is sequence }} {{ l is iterable }} {{ z is none }} {{ n is odd }} {{ n is divisibleby 7 }} {{ n is eq 7 }} {{ s is in ['x'] }} {{ 'a' is lower }} {{ t is true }} {{ z is not none }} {{ x is iterable }} {{ d is sequence }}
{{ 1 < 2 < 3 }} {{ 1 == 1.0 == true }} {{ 'a' < 'b' }} {{ [1] == [1] }} {{ 'o' in s }} {{ 'zz' not in s }} {{ 'a' in d }} {{ 3 in l }} {{ not t or z }} {{ (z or 'x') and 'y' }}
{{ w | sort }} {{ w | sort(reverse=true) }} {{ l | sort }} {{ w | unique | list }} {{ l | sum }} {{ l | min }} {{ l | max }} {{ l | first }} {{ l | last }} {{ l | reverse | list }} {{ s | reverse }} {{ d | dictsort | length }}
{{ m | map(attribute='role') | join(', ') }} {{ m | selectattr('role', 'equalto', 'user') | list | length }} {{ m | rejectattr('role', 'eq', 'user') | map(attribute='content') | first }} {{ l | select('odd') | list }} {{ w | map('upper') | join }} {{ l | reject('gt', 1) | list }} {{ m | join('-', attribute='role') }}
{{ '12' | int }} {{ '1.9' | int }} {{ 'x' | int }} {{ 'x' | int(5) }} {{ 3.7 | int }} {{ '1.5' | float }} {{ -3 | abs }} {{ n | string }} {{ [1, 2] | string }}
{{ "a\nb\n\nc" | indent }}|{{ "a\nb" | indent(2, true) }}|{{ "a\n\nb" | indent('> ', blank=true) }}
{{ '%s-%d%%' | format(s, 3) }} {{ '%s' % s }} {{ '%s %s' % (1, 'x') }} {{ 'ab' * 3 }} {{ [0] * 2 }} {{ [1] + [2] }}
   {% if t %}   x
   {% endif %}
   y {%- if t %} z {%- endif %}  
  {# comment #}
a {#- c -#} b
{%+ if t %}q{% endif +%}
w
{% raw %}{{ raw }}{% endraw %}{{ '{{' }}
{%- generation -%} gen {%- endgeneration -%} end
{{ raise_exception('no') }}
{{ strftime_now('%d %b %Y %H:%M:%S %A %B %j %-d %p') }}
{{ (1, 2, 3)[1] }} {{ {'a': {'b': 2}}.a.b }} {{ {1: 'x'}[1] }} {{ {'a': 1}['a'] }} {{ [[1, 2], [3]][0][1] }} {{ l.0 }}
{% with a = 1, b = s %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}
{% filter upper %}abc {{ s }}{% endfilter %}
{{ '{} {x}{{}}'.format('a', x=1) }}
{{ '<b>' | safe + "<i>'" }}{{ '&' + ('x' | safe) }}{{ none | map('upper') | list }}
{{ s | safe }}{{ d | items | list }}{{ namespace(a=1).a }}{{ dict(a=1) }}{{ loop is defined }}
{{ 'yes' if t }}{{ 'no' if not t }}{{ 'a' if false else 'b' if false else 'c' }}
{{ s.foo is defined }}{{ l.foo is defined }}{{ n.foo is defined }}{{ d.foo is defined }}{{ d['foo'] is defined }}{{ s['foo'] is defined }}
{{ 'x' if undefined_name else 'y' }}{% for q in undefined_name %}{% endfor %}{{ [none, 'a', 1, true] | tojson }}{{ true == 1 }}{{ '1' == 1 }}
{{ s | length }}{{ u | length }}{{ d | length }}{{ l | count }}{{ [] | length }}
{{ l | tojson }}{{ 1.0 | tojson }}{{ 1e100 | tojson }}{{ -0.0 | tojson }}{{ f * 3 }}{{ 100000000000000000000.0 }}
{{ nope() }}
{% macro f(a=a, b=c, c=n) %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ f() }}{{ f(1) }}{{ f(c=2) }}
{{ l | indent }}
{{ undefined_name | indent }}
{{ s | indent(2.5) }}
{{ undefined_name | int(5) }}
{{ undefined_name | float }}
{{ [[1], [1]] | unique | list }}
{{ '1.x' | int }} {{ '-' | int(3) }} {{ '' | float }} {{ 'é' | float }}
{{ s.nope() }}
{{ none.x is defined }}{{ none['x'] is defined }}{{ none | string }}
{% for x in none %}{% endfor %}
{{ l[5] is defined }}{{ l[-9] is defined }}{{ u[99] is defined }}
{{ loop }}|{{ l }}
{% if n == 7 %}{{ s }}{% else if %}{% endif %}
{% for x in l %}
{{ x }}{% endif %}
{{ 'a' is string and 'b' is string }}{{ 1 if n is defined and n else 2 }}{{ not n is defined }}
{{- ' a ' -}}   b   {{- ' c ' }}
{% for a in [1] %}{% for b in [2] %}{{ a }}{{ b }}{{ loop.cycle('x', 'y') }}{% endfor %}{% endfor %}
{{ m[0] | tojson }}{{ m[0]['role'] + ': ' + m[0]['content'] | trim + '!' }}
{% set content = m[0].content %}{{ '<|im_start|>' + m[0].role + '\n' + content + '<|im_end|>' }}{{ bos_token }}
"""


def cases():
    """Blank lines separate cases that span lines; else each line is one."""
    for block in LANGUAGE.strip("\n").split("\n"):
        if block:
            yield block
    yield "   {% if t %}   x\n   {% endif %}\n   y {%- if t %} z {%- endif %}  \n  {# comment #}\na {#- c -#} b\n"
    yield "a\n  {%+ if t %}q{% endif +%}\nw\n{%- if t -%}\n\n x \n{%- endif %}\n\n\n"
    yield "line\r\nline\r{% if t %}\r\nx{% endif %}\n\n"
    yield "{% raw -%}\n {{ raw }} {% if %}\n{%- endraw %}\n z"
    yield "{{ s\n | upper\n }}\n{#\n multi\n#}\nx"
    yield "  {{ s }}\n\t{% if t %}\n\ty\n\t{% endif %}\n"
    yield "{% for x in l -%}\n  {{ x }}\n{%- endfor %}\n"
    yield "{{ '\n' }}{{ \"\\u4e16\" }}"
    yield ""
    yield "{{ "
    yield "{% if t %}"
    yield "{{ 'abc }}"
    yield "{{ (1 }}"
    yield "{# open"
    yield "{% frobnicate %}"


def language():
    out = []
    for text in cases():
        case = {"template": text}
        try:
            case["want"] = chat_template_utils._compile_jinja_template(text).render(**copy.deepcopy(VARS))
        except Exception as e:
            case["error"] = type(e).__name__
        out.append(case)
    return {"vars": VARS, "cases": out}


TOOLS = [
    {"type": "function", "function": {
        "name": "get_weather", "description": "Weather \"now\" in a place, <b>°C</b>",
        "parameters": {"type": "object", "properties": {
            "city": {"type": "string", "description": "a city"},
            "unit": {"type": "string", "enum": ["C", "F"], "default": None},
            "days": {"type": "array", "items": {"type": "integer"}}}, "required": ["city"]}}},
    {"type": "function", "function": {
        "name": "noop", "description": "nothing", "parameters": {"type": "object", "properties": {}}}},
]
CALL = {"id": "call12345", "type": "function",
        "function": {"name": "get_weather", "arguments": {"city": "Zürich", "days": [1, 2.5, True, None]}}}
U, A, S = "user", "assistant", "system"


def said(*turns):
    return [{"role": r, "content": c} for r, c in turns]


CONVERSATIONS = {
    "one": {"messages": said((U, "Hello"))},
    "system": {"messages": said((S, " Be brief. "), (U, "Hi there!\n"), (A, " Hello. "), (U, "\tBye  "))},
    "no-generation": {"messages": said((U, "Hi"), (A, "Yo")), "add_generation_prompt": False},
    "unicode": {"messages": said((U, "Grüße 世界 😀 e\u0301 \u200b ﷽"), (A, "да"), (U, "\u00a0x\u2028y"))},
    "empty": {"messages": said((U, ""), (A, ""), (U, ""))},
    "thinking": {"messages": said((U, "2+2?"), (A, "<think>\nfour\n</think>\n\n4"), (U, "3+3?"))},
    "no-thinking": {"messages": said((U, "2+2?")), "enable_thinking": False},
    "tools": {"messages": said((S, "Use tools."), (U, "Weather?")), "tools": TOOLS},
    "tool-calls": {"messages": said((U, "Weather?")) + [
        {"role": A, "content": "", "tool_calls": [CALL]},
        {"role": "tool", "name": "get_weather", "tool_call_id": "call12345", "content": "{\"t\": 21.5}"},
        {"role": A, "content": "21.5 °C"}, {"role": U, "content": "Thanks"}], "tools": TOOLS},
    "roles": {"messages": said((A, "first"), (A, "second"), (S, "late"), (U, "x"))},
}


def render(text, conversation, tokens):
    variables = {"tools": None, "documents": None, "add_generation_prompt": True, **tokens,
                 **copy.deepcopy(conversation)}
    try:
        return {"want": chat_template_utils._compile_jinja_template(text).render(**variables)}
    except Exception as e:
        return {"error": type(e).__name__}


def families():
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    out = []
    for name in sorted(os.listdir(HERE)):
        if not name.endswith(".jinja"):
            continue
        with open(os.path.join(HERE, name), encoding="utf-8", newline="") as f:
            text = f.read()
        for key, conversation in CONVERSATIONS.items():
            out.append({"family": name, "conversation": key, **render(text, conversation, tokens)})
    return {"tokens": tokens, "conversations": CONVERSATIONS, "cases": out}


def models(assets):
    from transformers import AutoTokenizer
    out = []
    for name in sorted(os.listdir(os.path.join(assets, "tokenizers"))):
        t = AutoTokenizer.from_pretrained(os.path.join(assets, "tokenizers", name))
        for key, conversation in CONVERSATIONS.items():
            c = {"add_generation_prompt": True, **copy.deepcopy(conversation)}
            case = {"model": name, "conversation": key}
            try:
                case["ids"] = t.apply_chat_template(c.pop("messages"), **c)
            except Exception as e:
                case["error"] = type(e).__name__
            out.append(case)
        c = said((U, "Hi"), (A, " The answer is "))
        out.append({"model": name, "continue": c, "ids": t.apply_chat_template(c, continue_final_message=True)})
    return {"conversations": CONVERSATIONS, "cases": out}


def write(name, data):
    with open(os.path.join(HERE, name), "w", encoding="utf-8") as f:
        f.write("{" + ",\n".join(
            json.dumps(k) + ": " + ("[\n" + ",\n".join(json.dumps(x) for x in v) + "]" if k == "cases" else json.dumps(v))
            for k, v in data.items()) + "}\n")


write("language.json", language())
write("families.json", families())
if len(sys.argv) > 1:
    write("models.json", models(sys.argv[1]))
