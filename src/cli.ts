/** The command line. Each command loads its own code when it runs, so that `lightpath --help` is quick and agents are small. */

import { type Command, Option, program } from 'commander'
import packageJson from '../package.json' with { type: 'json' }
import { addOptions, readConfig } from './commands/config.ts'
import type { Config } from './commands/options.ts'
import { UsageError } from './commands/usage.ts'
import { printable } from './text/printable.ts'

const ports = ['redirectPort', 'adminPort'] as const
const sockets = ['envoySockets', 'envoyUser'] as const
const kernel = [
  ...([
    'steeringMark',
    'envoyMark',
    'routeTable',
    'rulePriority',
    'abandonAfter',
    'masqueradeMark',
    'nodeportAddresses',
    'masqueradeAll',
  ] as const),
  ...(['detectLocalMode', 'clusterCidr', 'podBridgeInterface', 'podInterfaceNamePrefix'] as const),
] as const
const conntrack = [
  'conntrackMaxPerCore',
  'conntrackMin',
  'conntrackTcpTimeoutEstablished',
  'conntrackTcpTimeoutCloseWait',
  'conntrackTcpBeLiberal',
  'conntrackUdpTimeout',
  'conntrackUdpTimeoutStream',
] as const

program
  .name('lightpath')
  .description(
    `${packageJson.description}\nDocumentation: docs/ beside the program, beginning with docs/architecture.md.`,
  )
  .version(packageJson.version)
  // Before the commands, which inherit both: a mistake is one line and exit code 2, whoever finds it.
  .configureOutput({
    outputError: (text, write) => write(`lightpath: ${printable(oneLine(text))}; --help says more\n`),
  })
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : 2))

configured(
  program.command('node').description('run the agent of this node: watch Services, tell Envoy and the kernel'),
  [
    'nodeName',
    'source',
    'kubeconfig',
    'services',
    'families',
    'redirectPort',
    ...sockets,
    'metricsAddress',
    'metricsPort',
    'servicesMetricsPort',
    'metricsBindAddress',
    'healthzBindAddress',
    'socket',
    ...kernel,
    'redirect',
    'clientAddress',
    'pathTest',
    ...conntrack,
    'envoyPortsPerService',
    'envoyPortsPerNamespace',
    'envoyPorts',
    'envoyEndpointsPerPort',
    'drainTime',
    'accessLogRate',
    'logLevel',
  ],
).action(run(async config => (await import('./commands/node.ts')).runNode(config)))

configured(
  program
    .command('prepare')
    .description(
      "set what the node's kernel needs (conntrack, local ports, handover between Envoys), as `node` does where it may: for an init container that may more",
    ),
  ['nodeName', 'services', 'clientAddress', ...conntrack],
).action(run(async config => (await import('./commands/prepare.ts')).prepare(config)))

configured(program.command('bootstrap').description("print the bootstrap of this node's Envoy, for `envoy -c FILE`"), [
  'nodeName',
  'envoySockets',
  'adminPort',
  'envoyHeap',
  'envoyMark',
  'clientAddress',
]).action(run(async config => (await import('./commands/bootstrap.ts')).printBootstrap(config)))

configured(
  program
    .command('explain')
    .description(
      'say everything about a Service on this node: what was asked for, which endpoints, what Envoy and the kernel know',
    )
    .argument('<namespace/name>', 'the Service'),
  ['socket'],
)
  .option('--output <table|json>', 'for people or for programs', 'table')
  .action(
    run(async (config, [service = '']: string[], { output }) =>
      (await import('./commands/explain.ts')).explain(config, service, outputFormat(output)),
    ),
  )

configured(program.command('status').description('say how this node is: layers, Envoy, problems'), ['socket'])
  .option('--output <table|json>', 'for people or for programs', 'table')
  .action(
    run(async (config, _args, { output }) =>
      (await import('./commands/status.ts')).status(config, outputFormat(output)),
    ),
  )

configured(
  program.command('services').description('list the Service ports of this node, with the layer that serves each'),
  ['socket'],
)
  .option('-n, --namespace <NAMESPACE>', 'only of this namespace')
  .option('--output <table|json>', 'for people or for programs', 'table')
  .action(
    run(async (config, _args, { namespace, output }) =>
      (await import('./commands/services.ts')).services(config, namespace, outputFormat(output)),
    ),
  )

configured(
  program
    .command('top')
    .description(
      'show live, for each Service port: requests, latency, errors, retries, ejections, connections, and the share of each endpoint; of this node, or of all nodes where no agent runs here or --kubeconfig is given',
    )
    .argument('[namespace or namespace/name]', 'only these Services; of one Service each endpoint is shown'),
  ['socket', 'kubeconfig'],
)
  .option('--interval <SECONDS>', 'how often (default: 2, with --once 6)')
  .option('--once', 'one report, of one interval')
  .option('--times <N>', 'so many reports')
  .addOption(new Option('--attached', 'ends when standard input does').hideHelp())
  .option('--output <table|json>', 'for people, or for programs: a line of JSON for each report', 'table')
  .action(
    run(async (config, [chosen]: string[], { interval, once, times, attached, output }) =>
      (await import('./commands/top/top.ts')).top(config, {
        chosen,
        interval: typeof interval === 'string' ? interval : once === true ? '6' : '2',
        times: once === true ? '1' : typeof times === 'string' ? times : undefined,
        isAttached: attached === true,
        output: outputFormat(output),
      }),
    ),
  )

configured(
  program
    .command('translate')
    .description(
      'print what Envoy and the kernel would be told of the Services in a directory; changes nothing, needs no root',
    )
    .argument('<directory>', 'manifests: Services, EndpointSlices, Namespaces, Nodes'),
  ['nodeName', 'families', ...ports, 'envoySockets', ...kernel, 'clientAddress'],
)
  .option(
    '--to <table|json|envoy|nftables>',
    'a table of Service ports, the same as JSON, an Envoy configuration, or an nftables ruleset',
    'table',
  )
  .option('--strict', 'exit code 1 where there are problems, for pipelines; what is well is printed all the same')
  .action(
    run(async (config, [directory = '']: string[], { to, strict }) =>
      (await import('./commands/translate.ts')).translate(config, directory, { to, strict: strict === true }),
    ),
  )

configured(
  program
    .command('verify')
    .description(
      'compare, Service by Service, what the kube-proxy of this node has in the kernel with what Lightpath would put there; exit code 1 with differences',
    ),
  ['nodeName', 'source', 'kubeconfig', 'services', 'families', ...kernel, 'clientAddress'],
)
  .option('--against <kube-proxy|lightpath>', "compare the rules of kube-proxy, or Lightpath's own", 'kube-proxy')
  .option('--output <table|json>', 'for people or for programs', 'table')
  .action(
    run(async (config, _args, { against, output }) =>
      (await import('./commands/verify.ts')).verify(config, against, outputFormat(output)),
    ),
  )

configured(
  program
    .command('overlay')
    .description('take the whole node down to the kernel layer (off) and back (on); works without an agent')
    .argument('<on|off|show>', 'what to do'),
  ['families', 'redirect'],
).action(
  run(async (config, [what = '']: string[]) => (await import('./commands/overlay.ts')).switchOverlay(config, what)),
)

configured(program.command('cleanup').description("remove everything that Lightpath ever made in this node's kernel"), [
  'routeTable',
  'socket',
  'envoySockets',
  'redirectPort',
])
  .option('--after-envoy', 'take new connections off Envoy first, and wait until it has ended, 11 minutes at most')
  .action(
    run(async (config, _args, { afterEnvoy }) =>
      (await import('./commands/cleanup.ts')).cleanUp(config, afterEnvoy === true),
    ),
  )

configured(
  program
    .command('preflight')
    .description(
      'say before anything is installed whether this node and its cluster are fit for Lightpath, and which layer each Service would get; changes nothing; exit code 1 where traffic would break',
    ),
  [
    ...([
      'nodeName',
      'source',
      'kubeconfig',
      'services',
      'families',
      'metricsPort',
      'servicesMetricsPort',
      'socket',
    ] as const),
    ...ports,
    ...kernel,
    'redirect',
    'clientAddress',
  ],
)
  .option('--all-nodes', 'look at every node, by a pod on each that is removed again; needs no agent anywhere')
  .option(
    '--image <IMAGE>',
    "with --all-nodes: of Lightpath, as nodes have or can pull it (default: the agents', else one that the nodes have)",
  )
  .option('--timeout <SECONDS>', 'with --all-nodes: how long a node may take', '120')
  .option('--output <table|json>', 'for people or for programs', 'table')
  .action(
    run(async (config, _args, options) => {
      const output = outputFormat(options.output)
      if (options.allNodes !== true) return (await import('./commands/preflight.ts')).preflight(config, output)
      const { preflightAllNodes } = await import('./commands/preflight/all-nodes.ts')
      const image = typeof options.image === 'string' ? options.image : undefined
      return preflightAllNodes(config, { image, timeout: String(options.timeout), given: options, output })
    }),
  )

configured(
  program
    .command('check')
    .description(
      'say of a cluster whether Lightpath works on each node: its pods, versions, the path to Envoy, a request through Envoy and one by the kernel layer, by pods that are removed again; exit code 1 where something is wrong',
    ),
  ['kubeconfig'],
)
  .option('--image <IMAGE>', "of the pods that ask and answer (default: the agents')")
  .option('--timeout <SECONDS>', 'how long a pod may take', '90')
  .option('--output <table|json>', 'for people or for programs', 'table')
  .action(
    run(async (config, _args, { image, timeout, output }) =>
      (await import('./commands/check/check.ts')).check(config, {
        image: typeof image === 'string' ? image : undefined,
        timeout: String(timeout),
        output: outputFormat(output),
      }),
    ),
  )

program
  .command('check-pod', { hidden: true })
  .description('what runs in the pods of `lightpath check`')
  .argument('<serve|ask>', 'answer requests, or make them')
  .argument('[LAYER=URL...]', 'whom to ask, and by which layer it is to be served')
  .action(
    run(async (_config, [what = '', ...targets]: string[]) =>
      (await import('./commands/check/pod.ts')).checkPod(what, targets),
    ),
  )

configured(
  program
    .command('debug')
    .description('what the report of a bug needs')
    .command('dump')
    .description(
      "pack configuration, state, ruleset, Envoy's configuration and statistics into one archive, without secrets",
    ),
  ['socket', ...sockets, 'routeTable'],
)
  .option('--file <FILE>', 'the archive, - for standard output (default: lightpath-NODE-TIME.tar.gz here)')
  .action(run(async (config, _args, { file }) => (await import('./commands/dump.ts')).dump(config, file)))

configured(
  program
    .command('webhook')
    .description('hand new Services to Lightpath as the API server asks about them; makes and renews its certificate'),
  ['kubeconfig', 'webhookAddress', 'webhookPort', 'certificate', 'clientAuthorities', 'clientNames', 'logLevel'],
).action(run(async config => (await import('./commands/webhook.ts')).runWebhook(config)))

configured(
  program
    .command('adopt')
    .description(
      'list the Services that the webhook would have handed over and that exist already; --yes hands them over, --back gives them back',
    )
    .argument('[namespace or namespace/name...]', 'only these'),
  ['kubeconfig'],
)
  .option('--yes', 'move them; without it they are only listed')
  .option('--back', "the other way: Services that have the label are kube-proxy's again")
  .option('--force', 'also where nodes have no ready agent: nobody would serve the Services there')
  .option('--output <table|json>', 'for people or for programs', 'table')
  .action(
    run(async (config, chosen, { yes, back, force, output }) =>
      (await import('./commands/adopt.ts')).adopt(config, chosen, {
        yes: yes === true,
        back: back === true,
        force: force === true,
        output: outputFormat(output),
      }),
    ),
  )

configured(
  program
    .command('uninstall')
    .description(
      'say what there is of Lightpath in the cluster, whatever is gone of it already; --yes hands the Services back to kube-proxy, ends agents and Envoys, cleans every node and removes the rest',
    ),
  ['kubeconfig'],
)
  .option('--yes', 'do it; without it only what was found is told')
  .option('--force', 'also where the agents serve all Services and no pod of kube-proxy is seen')
  .option('--image <IMAGE>', "with which nodes are cleaned (default: the agents', else one that the nodes have)")
  .option('--timeout <SECONDS>', 'how long nodes may take to be clean', '300')
  .option('--output <table|json>', 'for people or for programs', 'table')
  .action(
    run(async (config, _args, { yes, force, image, timeout, output }) =>
      (await import('./commands/uninstall.ts')).runUninstall(config, {
        yes: yes === true,
        force: force === true,
        image: typeof image === 'string' ? image : undefined,
        timeout: String(timeout),
        output: outputFormat(output),
      }),
    ),
  )

program
  .command('demo')
  .description(
    'show Lightpath at work on this machine: two nodes as network namespaces, real Envoy, real traffic (needs root)',
  )
  .option('--keep', 'leave it running, and say how to look around')
  .action(run(async (_config, _args, { keep }) => (await import('./commands/demo.ts')).demo(keep === true)))

await program.parseAsync()

function configured(command: Command, names: Parameters<typeof addOptions>[1]): Command {
  return addOptions(command, names)
}

type Action = (config: Config, args: string[], options: Readonly<Record<string, unknown>>) => Promise<void>

/** Runs an action with its configuration; a user's mistake is one line and exit code 2, any other error one line and 1. */
function run(action: Action): (...given: unknown[]) => Promise<void> {
  return async (...given) => {
    const command = given.at(-1) as Command
    try {
      await action(readConfig(command), command.args, command.opts())
    } catch (error) {
      process.stderr.write(`lightpath ${command.name()}: ${printable((error as Error).message)}\n`)
      process.exitCode = error instanceof UsageError ? 2 : 1
    }
  }
}

/** Commander's `error: unknown command 'nod'\n(Did you mean node?)`. */
function oneLine(text: string): string {
  return text
    .replace(/^error: /, '')
    .trim()
    .replace(/\.?\s*\n/g, ' ')
}

function outputFormat(text: unknown): 'table' | 'json' {
  if (text === 'table' || text === 'json') return text
  throw new UsageError(`--output is ${JSON.stringify(text)}, which is not table or json`)
}
