/** Clients and servers that are common in clusters, and what clients ask. Each row is run as it stands here. */

import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

/** Java's and Go's are missing where the machine cannot compile them. */
export interface Programs {
  /** What tools/web-programs prints. */
  readonly directory: string
  /** Holds `hello` and `big`, and is where servers may write. */
  readonly content: string
}

type Command = readonly [string, ...string[]]

export interface Client {
  readonly name: string
  readonly speaks: 'http' | 'http2'
  /** Gets the file of the upload and URLs behind it. */
  readonly command: (programs: Programs) => Command
  /** That the client can do. */
  readonly operations: readonly Operation[]
}

export interface Server {
  readonly name: string
  readonly speaks: 'http' | 'http2'
  readonly command: (programs: Programs) => Command
}

/** Milliseconds after which the server closes an idle connection, by its port; '' is the server's own. */
export const idleTimes: Readonly<Record<number, string>> = { 8080: '', 8010: '10', 8050: '50', 8500: '500' }
const ports = Object.entries(idleTimes).map(([port, idle]) => `${port}:${idle}`)

const hello = 'hello'
const big = 'lightpath\n'.repeat(500_000)
export const upload = 'lightpath\n'.repeat(20_000)
export const content = { hello, big }

const answer = (status: number, body: string) => `${status} ${createHash('sha1').update(body).digest('hex')}`

/** Status and SHA-1 of the body. */
export const expected = {
  get: answer(200, hello),
  head: answer(200, ''),
  post: answer(200, upload),
  chunked: answer(200, upload),
  continue: answer(200, upload),
  /** Twenty on one connection. */
  kept: answer(200, hello.repeat(20)),
  big: answer(200, big),
  missing: answer(404, 'no'),
  failing: answer(500, 'no'),
} as const
export type Operation = keyof typeof expected

const all = Object.keys(expected) as Operation[]
const allBut = (...missing: readonly Operation[]) => all.filter(operation => !missing.includes(operation))

const program = (name: string) => new URL(`programs/${name}`, import.meta.url).pathname
const jars = ({ directory }: Programs) => `${directory}/java:${directory}/usr/share/java/*`
const python = (directory: string, ...args: readonly string[]): Command => [
  'env',
  `PYTHONPATH=${directory}/usr/lib/python3/dist-packages`,
  'PYTHONDONTWRITEBYTECODE=1',
  '/usr/bin/python3',
  ...args,
]
const java = (programs: Programs, ...args: readonly string[]): Command => [
  'java',
  '-XX:TieredStopAtLevel=1',
  '-cp',
  jars(programs),
  ...args,
]

const curl = (flag: string) => () => [program('curl.sh'), flag] as const
const busybox = (applet: string) => () => [program('busybox.sh'), applet] as const
const node =
  (file: string, ...args: readonly string[]) =>
  () =>
    [process.execPath, program(file), ...args] as const

export const clients: readonly Client[] = [
  { name: 'curl, HTTP/1.0', speaks: 'http', command: curl('--http1.0'), operations: allBut('chunked', 'continue') },
  { name: 'curl, HTTP/1.1', speaks: 'http', command: curl('--http1.1'), operations: all },
  {
    name: 'curl, HTTP/2',
    speaks: 'http2',
    command: curl('--http2-prior-knowledge'),
    operations: allBut('continue', 'kept'),
  },
  ...['http.client', 'requests'].map(
    (library): Client => ({
      name: `Python ${library}`,
      speaks: 'http',
      command: ({ directory }) => python(directory, program('client.py'), library),
      operations: allBut('continue'),
    }),
  ),
  {
    name: 'Go net/http',
    speaks: 'http',
    command: ({ directory }) => [`${directory}/go-program`, 'ask'],
    operations: all,
  },
  {
    name: 'Java HttpClient',
    speaks: 'http',
    command: programs => java(programs, 'JavaClients', 'jdk'),
    operations: allBut('continue'),
  },
  {
    name: 'Apache HttpClient',
    speaks: 'http',
    command: programs => java(programs, 'JavaClients', 'apache'),
    operations: all,
  },
  { name: 'Node http', speaks: 'http', command: node('client.ts', 'http'), operations: all },
  { name: 'Node fetch', speaks: 'http', command: node('client.ts', 'fetch'), operations: allBut('continue') },
  { name: 'BusyBox wget', speaks: 'http', command: busybox('wget'), operations: ['get', 'post', 'big'] },
  {
    name: 'BusyBox nc',
    speaks: 'http',
    command: busybox('nc'),
    operations: ['get'],
  },
]

export const servers: readonly Server[] = [
  {
    name: 'Node',
    speaks: 'http',
    command: ({ content }) => node('server.ts', 'http', content, ...ports)(),
  },
  {
    name: 'Node http2',
    speaks: 'http2',
    command: ({ content }) => node('server.ts', 'http2', content, ...ports)(),
  },
  {
    name: 'Go',
    speaks: 'http',
    command: ({ directory, content }) => [`${directory}/go-program`, 'serve', content, ...ports],
  },
  ...['threaded', 'single'].map(
    (threads): Server => ({
      name: `Python, ${threads}`,
      speaks: 'http',
      command: ({ directory, content }) => python(directory, program('server.py'), threads, content, ...ports),
    }),
  ),
  {
    name: 'nginx',
    speaks: 'http',
    command: ({ directory, content }) => [`${directory}/usr/sbin/nginx`, '-p', content, '-c', `${content}/nginx.conf`],
  },
  {
    name: 'Apache prefork',
    speaks: 'http',
    command: ({ directory, content }) => [
      'env',
      `LD_LIBRARY_PATH=${libraries(directory)}`,
      `${directory}/usr/sbin/apache2`,
      '-DFOREGROUND',
      '-f',
      `${content}/apache.conf`,
    ],
  },
  {
    name: 'Tomcat',
    speaks: 'http',
    command: programs => java(programs, 'TomcatServer', programs.content, `${programs.content}/tomcat`, ...ports),
  },
]

function libraries(directory: string): string {
  return ['x86_64', 'aarch64'].map(cpu => `${directory}/usr/lib/${cpu}-linux-gnu`).find(existsSync)!
}

/** A program that this machine could not compile. */
export function isMissing({ command }: Client | Server, programs: Programs): boolean {
  const [first] = command(programs)
  if (first === 'java') return !existsSync(join(programs.directory, 'java', 'JavaClients.class'))
  return first.endsWith('go-program') && !existsSync(first)
}

/** Files that servers are configured by. */
export function configuration({ directory, content }: Programs): Readonly<Record<string, string>> {
  const each = (lines: (port: string, idle: string) => string) =>
    Object.entries(idleTimes)
      .map(([port, idle]) => lines(port, idle))
      .join('\n')
  return {
    'nginx.conf': `
daemon off;
user nobody nogroup;
worker_processes 1;
pid nginx.pid;
error_log nginx.log;
load_module ${directory}/usr/lib/nginx/modules/ngx_http_echo_module.so;
events {}
http {
  access_log off;
  client_body_temp_path nginx-body;
  proxy_temp_path nginx-proxy;
  fastcgi_temp_path nginx-fastcgi;
  uwsgi_temp_path nginx-uwsgi;
  scgi_temp_path nginx-scgi;
  client_body_buffer_size 1m;
  root ${content};
${each(
  (port, idle) => `
  server {
    listen ${port};
    ${idle && `keepalive_timeout ${idle}ms;`}
    location = /echo { echo_read_request_body; echo_request_body; }
    location = /missing { return 404 no; }
    location = /failing { return 500 no; }
  }`,
)}
}
`,
    'apache.conf': `
ServerName apache
ServerRoot ${directory}/usr/lib/apache2
PidFile ${content}/apache.pid
ErrorLog ${content}/apache.log
DefaultRuntimeDir ${content}
User nobody
Group nogroup
${['mpm_prefork', 'authz_core', 'alias', 'cgi'].map(module => `LoadModule ${module}_module modules/mod_${module}.so`).join('\n')}
DocumentRoot ${content}
${['echo', 'missing', 'failing'].map(name => `ScriptAlias /${name} ${content}/${name}.cgi`).join('\n')}
${each(
  (port, idle) => `
Listen ${port}
<VirtualHost *:${port}>
${idle && `KeepAliveTimeout ${idle}ms`}
</VirtualHost>`,
)}
`,
    // Apache reads nothing of a script before it has written all of the body to it.
    'echo.cgi':
      '#!/bin/sh\nbody=$(mktemp)\ncat > "$body"\nprintf "Content-Type: text/plain\\r\\n\\r\\n"\ncat "$body"\nrm "$body"\n',
    'missing.cgi': '#!/bin/sh\nprintf "Status: 404\\r\\nContent-Type: text/plain\\r\\n\\r\\nno"\n',
    'failing.cgi': '#!/bin/sh\nprintf "Status: 500\\r\\nContent-Type: text/plain\\r\\n\\r\\nno"\n',
  }
}
