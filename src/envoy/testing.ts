/** Settings for tests: for each setting, the values that its annotation accepts. */

import fc from 'fast-check'
import { defaultSettings, settingDefinitions } from '../services/settings/definitions.ts'
import { lbPolicies, type Settings } from '../services/settings/settings.ts'

const texts = [
  ...[
    'true',
    'false',
    'errors',
    'none',
    'auto',
    'add',
    'safe',
    'always',
    'never',
    '0',
    '1',
    '5',
    '50',
    '100',
    '4294967295',
  ],
  ...['1ms', '999ms', '1500ms', '5s', '1m30s', '8760h'],
  ...lbPolicies,
  ...['5xx', 'reset', '5xx,reset,retriable-headers', 'gateway-error,connect-failure', 'cancelled,unavailable'],
]

export const settingValues: readonly { readonly name: string; readonly settings: Partial<Settings> }[] =
  settingDefinitions.flatMap(({ name, key, parse }) =>
    texts.flatMap(text => {
      const parsed = parse(text)
      return parsed.ok ? [{ name: `${name}=${text}`, settings: { [key]: parsed.value } }] : []
    }),
  )

/** Any combination of values that annotations accept. */
export const anySettings: fc.Arbitrary<Settings> = fc
  .subarray([...settingValues])
  .map(chosen => Object.assign({ ...defaultSettings }, ...chosen.map(({ settings }) => settings)) as Settings)
