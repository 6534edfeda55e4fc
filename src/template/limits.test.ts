import { describe, expect, it } from 'vitest'
import { InputError } from '../errors.js'
import { createChatTemplate } from './index.js'

function render(template: string): string {
  return createChatTemplate(template).render({ messages: [{ role: 'user', content: 'Hi' }] })
}

const DOUBLE = (start: string, operator: string): string =>
  `{% set ns = namespace(x=${start}) %}{% for i in range(100) %}{% set ns.x = ns.x ${operator} ns.x %}{% endfor %}{{ ns.x }}`

/** What would take too long, too much memory or too much stack. */
const HOSTILE: readonly (readonly [string, string])[] = [
  ['parentheses', `{{ ${'('.repeat(100_000)}1`],
  ['brackets', `{{ ${'['.repeat(100_000)}`],
  ['braces', `{{ ${'{1:'.repeat(100_000)}`],
  ['signs', `{{ ${'-'.repeat(100_000)}1 }}`],
  ['not', `{{ ${'not '.repeat(100_000)}1 }}`],
  ['conditions', `{{ ${'1 if 0 else '.repeat(100_000)}1 }}`],
  ['conditions in a row', `{{ 1${' if 0'.repeat(100_000)} }}`],
  ['sums', `{{ 1${'+1'.repeat(100_000)} }}`],
  ['filters', `{{ 1${'|string'.repeat(50_000)} }}`],
  ['attributes', `{{ a${'.b'.repeat(100_000)} }}`],
  ['calls', `{{ a${'()'.repeat(100_000)} }}`],
  ['indices', `{{ a${'[0]'.repeat(100_000)} }}`],
  ['if', '{% if 1 %}'.repeat(50_000)],
  ['for', '{% for i in [1] %}'.repeat(50_000)],
  ['macros', '{% macro m() %}'.repeat(50_000)],
  ['targets', `{% for ${'('.repeat(100_000)}a in b %}`],
  ['a repeated string', "{{ 'x' * 10**9 }}"],
  ['a repeated list', '{{ [0] * 10**9 }}'],
  ['a repeated tuple', '{{ (0,) * 10**9 }}'],
  ['a range', '{{ range(10**9) }}'],
  ['loops in loops', `${'{% for i in range(99999) %}'.repeat(4)}x${'{% endfor %}'.repeat(4)}`],
  ['loops without output', `${'{% for i in range(99999) %}'.repeat(4)}${'{% endfor %}'.repeat(4)}`],
  ['a doubled string', DOUBLE("'ab'", '+')],
  ['a doubled string, joined', DOUBLE("'ab'", '~')],
  ['a doubled list', DOUBLE('[1]', '+')],
  ['a doubled integer', DOUBLE('3', '*')],
  [
    'nested lists',
    '{% set ns = namespace(x=[1]) %}{% for i in range(100) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}',
  ],
  [
    'nested lists, compared',
    '{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(100) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}',
  ],
  [
    'nested lists as JSON',
    '{% set ns = namespace(x=[1]) %}{% for i in range(100) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x|tojson }}',
  ],
  [
    'deep lists',
    '{% set ns = namespace(x=[]) %}{% for i in range(99999) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}',
  ],
  [
    'deep tuples as keys',
    '{% set ns = namespace(x=()) %}{% for i in range(99999) %}{% set ns.x = (ns.x,) %}{% endfor %}{{ {ns.x: 1} }}',
  ],
  ['a namespace in itself', '{% set ns = namespace() %}{% set ns.x = [ns] %}{{ ns }}'],
  ['a power', '{{ 9 ** (9 ** 9) }}'],
  ['a negative power', '{{ (-9) ** (9 ** 9) }}'],
  ['a width', "{{ '{:999999999}'.format(1) }}"],
  ['a precision', "{{ '{:.999999999f}'.format(1.5) }}"],
  ['a width of printf', "{{ '%999999999d' % 1 }}"],
  ['a precision of printf', "{{ '%.999999999d' % 1 }}"],
  ['a precision of a float', "{{ '%.99999999f' % 1.5 }}"],
  ['a width by an argument', "{{ '%*d' % (999999999, 1) }}"],
  ['centre', "{{ 'a'|center(10**9) }}"],
  ['ljust', "{{ 'a'.ljust(10**9) }}"],
  ['zfill', "{{ 'a'.zfill(10**9) }}"],
  ['expandtabs', "{{ '\\t'.expandtabs(10**9) }}"],
  ['an indentation', "{{ 'a\\nb'|indent(10**9) }}"],
  ['an indentation of JSON', '{{ [1]|tojson(indent=10**9) }}'],
  ['a replacement', "{% set s = 'a' * 100000 %}{{ s.replace('a', s) }}"],
  ['a join', "{% set s = 'a' * 100000 %}{{ s.join(s) }}"],
  ['a batch', '{{ [1]|batch(10**9, 0)|list }}'],
  ['slices', '{{ [1]|slice(10**9)|list }}'],
  ['sorting again and again', '{% set l = range(99999)|list %}{% for i in l %}{% set x = l|sort %}{% endfor %}'],
  ['searching again and again', "{% set s = 'a' * 1000000 %}{% for i in range(99999) %}{{ 'b' in s }}{% endfor %}"],
  ['counting again and again', "{% set s = '😀' * 1000000 %}{% for i in range(99999) %}{% set x = s[i] %}{% endfor %}"],
  ['a macro that calls itself', '{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}'],
  [
    'a macro that calls itself twice',
    '{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(100) }}',
  ],
  ['a block that calls itself', '{% block a %}{{ self.a() }}{% endblock %}'],
  ['a loop that calls itself', '{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}'],
  ['a width of a time', "{{ strftime_now('%9999Y' * 100000) }}"],
  [
    'texts that are replaced and kept',
    "{% set s = 'é' * 8000000 %}{% set ns = namespace(l=[]) %}{% for i in range(1000) %}{% set ns.l = ns.l + [s.replace('é','ü')] %}{% endfor %}",
  ],
  [
    'texts that are split and kept',
    "{% set s = 'ab ' * 2000000 %}{% set ns = namespace(l=[]) %}{% for i in range(1000) %}{% set ns.l = ns.l + [s.split()] %}{% endfor %}",
  ],
  ['digits', `{{ ${'9'.repeat(100_000)} }}`],
  ['stripping', `{{ '${' '.repeat(200_000)}'.strip() ~ 'x'.center(10**8) }}`],
  ['comments without an end', '{#'.repeat(100_000)],
  ['raw without an end', '{% raw %}'.repeat(50_000)],
  ['a long template', 'x'.repeat(2_000_000)],
]

describe('ends what takes too much, with an error of one line', () => {
  for (const [name, template] of HOSTILE) {
    it(name, { timeout: 10_000 }, () => {
      let message = ''
      try {
        render(template)
      } catch (error) {
        expect(error).toBeInstanceOf(InputError)
        message = (error as InputError).message
      }
      expect(message).toMatch(/^chat template( line \d+)?: [^\p{C}]+$/u)
      expect(message.length).toBeLessThanOrEqual(300)
    })
  }
})

describe('refuses', () => {
  it('a deep input', () => {
    let content: unknown = 'x'
    for (let level = 0; level < 100_000; level++) content = [content]
    const template = createChatTemplate('{{ messages }}')
    expect(() => template.render({ messages: [{ role: 'user', content }] })).toThrow('nested too deeply')
  })

  it('what reaches for the program through its objects', () => {
    for (const name of ['constructor', 'prototype', '__proto__', 'toString', 'hasOwnProperty', 'call', 'attributes']) {
      const values = [
        'messages',
        'messages[0]',
        "''",
        '1',
        'range',
        'namespace()',
        'dict',
        'cycler(1)',
        '{}',
        '()',
        'none',
      ]
      for (const value of values) {
        expect(render(`{{ (${value}).${name} is defined }}{{ (${value})['${name}'] is defined }}`)).toBe('FalseFalse')
      }
    }
    expect(render('{{ constructor }}{{ toString }}{{ __proto__ }}')).toBe('')
  })

  it('with a message that is one printable line, whatever the template says', () => {
    const long = createChatTemplate(`\n{{ raise_exception('a\\n\\x1b[31m' ~ 'b' * 100000) }}`, {
      path: `${'p'.repeat(999)}\n`,
    })
    expect(() => long.render({ messages: [] })).toThrow(/^[^\p{C}]{1,300}$/u)
    expect(() => render("\n\n{{ raise_exception('roles must take turns') }}")).toThrow(
      'chat template line 3: roles must take turns',
    )
  })
})
