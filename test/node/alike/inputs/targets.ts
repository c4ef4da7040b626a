/** A request's target reaches the endpoint byte by byte. */

import { answersOk, type Input, message } from '../input.ts'

const target = (path: string): Input => ({
  name: `the target ${path.length < 60 ? path : `${path.slice(0, 30)}… of ${path.length} bytes`}`,
  client: [message(`GET ${path} HTTP/1.1`, ['Host: a'])],
  server: answersOk,
})

const alike = [
  ...[
    '/',
    '//',
    '//a//b',
    '/a/',
    '/./a',
    '/../a',
    '/a/../b',
    '/%2e%2e/a',
    '/a%2Fb',
    '/a%2fb',
    '/a%5Cb',
    '/a\\b',
    '/%00',
    '/%zz',
    '/a%',
  ],
  ...[
    '/a;b=c',
    '/a,b',
    '/a:b',
    '/a@b',
    '/~a',
    '/a!b',
    "/a'b",
    '/(a)',
    '/a*b',
    '/a+b',
    '/a=b',
    '/a|b',
    '/[a]',
    '/{a}',
    '/a^b',
    '/a`b',
    '/<a>',
    '/a"b',
  ],
  ...['/?', '/?a=b&c=d', '/?a=%20', '/?a=b?c', '/?a[]=1&a[]=2', '/a?//b', '/a?b=http://c/d', '/a/b.json?x=1;y=2'],
  `/${'a'.repeat(8000)}`,
  `/?${'a=b&'.repeat(3000)}`,
]

export const targets: readonly Input[] = [
  ...[...alike, '/a#b', '/caf\u00e9', 'http://b/c'].map(target),
  { name: 'OPTIONS *', client: [message('OPTIONS * HTTP/1.1', ['Host: a'])], server: answersOk },
]
