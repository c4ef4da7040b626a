/** Writes docs/settings.md from the tables that the program itself uses; a test compares it with the file. */

import { settingDefinitions } from '../../services/settings/definitions.ts'
import { envoyProtocols } from '../../services/settings/envoyprotocol.ts'
import { protocolRules } from '../../services/settings/protocol.ts'
import { definitions, describeDefault, flagOf, type OptionName } from '../options.ts'

const introduction = `# Settings

## What a Service port speaks

Envoy balances a TCP port by requests (http, grpc) or by connections (redis, tcp), and the kernel layer serves the rest. Which it is,
\`lightpath explain\` and \`lightpath translate\` say with the reason. Capitals count as small letters.

HTTP/1 and HTTP/2 without TLS are told apart by what a client sends first, whatever the port is called. In Envoy's place the kernel
layer serves a port with \`overlay: false\`, and whatever else \`lightpath explain\` gives as its reason.
`

const settingsIntroduction = `## Of a Service port

Set by annotations on the Service, for one port each:

    config.lightpath.cloud/<port>-<setting>: "<value>"

\`<port>\` is the port's name, or its number where it has none. A value that does not parse never breaks the Service: the
default applies, and in place of a number or time beyond its range the nearest one within. The problem is logged, counted in
\`lightpath_problems\` and shown by \`lightpath explain\`. The ranges end where a value would cost the Services of others
something, since all of a node share its Envoy.

Durations are written as in Go: \`500ms\`, \`5s\`, \`1m30s\`. \`none\` means that there is no such limit.

A change of a setting takes effect for new requests; that of \`idle-timeout\`, \`access-log\`, \`half-close\` or \`first-bytes-timeout\`, which
are of Envoy's listeners, for new connections. A http or grpc port that sets one of these gets a listener of its
own, which costs Envoy as much again as all else of the port; connections from before stay as they are. When it changes
the value again, or goes back to the default, the open connections of that listener are closed, gracefully, within Envoy's
own drain time (\`--drain-time-s\`, an hour in deploy/proxy); so are those of a redis or tcp port. A port may change its listener ten times at once, and ten times an hour; what
was written last applies then.
`

const agentIntroduction = `## Of the agent

Flags of \`lightpath node\` (and of the other commands, where they apply), or keys of the YAML file given with
\`--config\`. A flag counts before the file, the file before the default.
`

export function renderSettingsDoc(): string {
  const settings = settingDefinitions.map(({ name, defaultText, protocols, accepts, description }) => [
    `\`${name}\``,
    defaultText,
    protocols.length === envoyProtocols.length ? 'all' : protocols.join(', '),
    description,
    accepts,
  ])
  const options = (Object.keys(definitions) as OptionName[]).map(name => [
    `\`${flagOf(name)}\``,
    `\`${name}\``,
    describeDefault(name) ?? '',
    definitions[name].description,
    definitions[name].accepts,
  ])
  return [
    introduction,
    markdownTable(
      ['', 'the first that fits', 'layer'],
      protocolRules.map((rule, i) => [String(i + 1), ...rule]),
    ),
    settingsIntroduction,
    markdownTable(['setting', 'default', 'for', 'meaning', 'values'], settings),
    agentIntroduction,
    markdownTable(['flag', 'key', 'default', 'meaning', 'values'], options),
  ].join('\n')
}

function markdownTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map(cell => cell.replaceAll('|', '\\|')).join(' | ')} |\n`
  return line(header) + line(header.map(() => '---')) + rows.map(line).join('')
}
