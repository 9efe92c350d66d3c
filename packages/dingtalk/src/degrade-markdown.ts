const fence = /^ {0,3}(```|~~~)/;
const separatorCell = /^:?-+:?$/;

/**
 * Markdown in the words that phones know too: tables and fenced code are not among DingTalk's (protocol: markdown subset; field reports
 * show them broken on phones). A row of a table becomes a line that names its columns, code is quoted line by line. Anything else
 * stays as it is, and what was degraded once does not change again.
 */
export function degradeMarkdown(text: string): string {
  const lines = text.split('\n');
  const shown: string[] = [];
  for (let at = 0; at < lines.length; at += 1) {
    const line = lines[at] ?? '';
    const mark = fence.exec(line)?.[1];
    if (mark !== undefined) {
      const from = shown.length;
      for (at += 1; at < lines.length && fence.exec(lines[at] ?? '')?.[1] !== mark; at += 1)
        shown.push(`> ${lines[at] ?? ''}  `);
      if (shown.length === from) shown.push('');
    } else if (isRow(line) && !line.startsWith('>') && isSeparator(lines[at + 1] ?? '')) {
      const names = toCells(line);
      if (!isRow(lines[at + 2] ?? '')) shown.push(toListLine([], names));
      for (at += 2; isRow(lines[at] ?? ''); at += 1) shown.push(toListLine(names, toCells(lines[at] ?? '')));
      // The line that ended the table is looked at by itself.
      at -= 1;
    } else shown.push(line);
  }
  return shown.join('\n');
}

const isRow = (line: string): boolean => line.includes('|');
const isSeparator = (line: string): boolean => isRow(line) && toCells(line).every((cell) => separatorCell.test(cell));

/** `| a | b |` as ['a', 'b']; a bar in a cell is written `\|`. */
function toCells(line: string): string[] {
  const bare = line.trim().replace(/^\|/, '').replace(/\|$/, '');
  return bare.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll('\\|', '|'));
}

/** `- **web-1** – CPU: 80 %, memory: 40 %`. */
function toListLine(names: readonly string[], [first = '', ...rest]: readonly string[]): string {
  const named = rest.flatMap((cell, at) => (cell === '' ? [] : [`${names[at + 1] ?? ''}: ${cell}`.replace(/^: /, '')]));
  const head = /^[^*_`]+$/.test(first) ? `**${first}**` : first;
  return `- ${[head, named.join(', ')].filter((part) => part !== '').join(' – ')}`;
}
