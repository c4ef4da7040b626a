/** What says how a node or its Services are. */

import { type Command, Option } from 'commander'
import { addOptions } from '../commands/config.ts'
import { proxyModes } from '../kernel/backends.ts'
import { kernel, ports, sockets } from './optionnames.ts'
import { outputFormat, outputOption, run } from './run.ts'

export function lookCommands(program: Command): void {
  addOptions(
    program
      .command('explain')
      .description(
        'say everything about a Service on this node: what was asked for, which endpoints, what Envoy and the kernel know',
      )
      .argument('<namespace/name>', 'the Service'),
    ['socket'],
  )
    .addOption(outputOption())
    .action(
      run(async (config, [service = '']: string[], { output }) =>
        (await import('../commands/look/explain.ts')).explain(config, service, outputFormat(output)),
      ),
    )

  addOptions(program.command('status').description('say how this node is: layers, Envoy, problems'), ['socket'])
    .addOption(outputOption())
    .action(
      run(async (config, _args, { output }) =>
        (await import('../commands/look/status.ts')).status(config, outputFormat(output)),
      ),
    )

  addOptions(
    program.command('services').description('list the Service ports of this node, with the layer that serves each'),
    ['socket'],
  )
    .option('-n, --namespace <NAMESPACE>', 'only of this namespace')
    .addOption(outputOption())
    .action(
      run(async (config, _args, { namespace, output }) =>
        (await import('../commands/look/services.ts')).services(config, namespace, outputFormat(output)),
      ),
    )

  addOptions(
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
        (await import('../commands/top/top.ts')).top(config, {
          chosen,
          interval: typeof interval === 'string' ? interval : once === true ? '6' : '2',
          times: once === true ? '1' : typeof times === 'string' ? times : undefined,
          isAttached: attached === true,
          output: outputFormat(output),
        }),
      ),
    )

  addOptions(
    program
      .command('verify')
      .description(
        'compare, Service by Service, what the kube-proxy of this node has in the kernel with what Lightpath would put there; exit code 1 with differences',
      ),
    ['nodeName', 'source', 'kubeconfig', 'services', 'families', ...kernel, 'clientAddress', 'envoyPorts'],
  )
    .option('--against <kube-proxy|lightpath>', "compare the rules of kube-proxy, or Lightpath's own", 'kube-proxy')
    .addOption(outputOption())
    .action(
      run(async (config, _args, { against, output }) =>
        (await import('../commands/look/verify.ts')).verify(config, against, outputFormat(output)),
      ),
    )

  addOptions(
    program
      .command('translate')
      .description(
        'print what Envoy and the kernel would be told of the Services in a directory; changes nothing, needs no root',
      )
      .argument('<directory>', 'manifests: Services, EndpointSlices, Namespaces, Nodes'),
    ['nodeName', 'families', ...ports, 'envoySockets', ...kernel, 'clientAddress'],
  )
    .option(
      `--to <${['table', 'json', 'envoy', ...proxyModes].join('|')}>`,
      'a table of Service ports, the same as JSON, an Envoy configuration, or the rules of a proxy mode',
      'table',
    )
    .option('--strict', 'exit code 1 where there are problems, for pipelines; what is well is printed all the same')
    .action(
      run(async (config, [directory = '']: string[], { to, strict }) =>
        (await import('../commands/look/translate.ts')).translate(config, directory, { to, strict: strict === true }),
      ),
    )

  addOptions(
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
    .action(run(async (config, _args, { file }) => (await import('../commands/dump/dump.ts')).dump(config, file)))
}
