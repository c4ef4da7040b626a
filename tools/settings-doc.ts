/** Prints docs/settings.md from the tables that the program itself uses: `npm run --silent docs > docs/settings.md`. */

import { renderSettingsDoc } from '../src/commands/options/settingsdoc.ts'

process.stdout.write(renderSettingsDoc())
