/** How Steward begins an outcome or an approval request. */
const lineOfOurs = /^[\s>*_]*(?:[✅⚠]|#*\s*(?:approval|审批)\s+[0-9a-z]{4}\b)/iu;
/** The commands that decide; a slash in front of another word stays as it is. */
const deciding = /\/(?=\s*(?:approve|deny|reject|同意|批准|拒绝|驳回))/gi;

/**
 * What the model says, as an answer in Steward's name. Others may have told it what to say: a line that begins like an outcome or
 * an approval request of Steward becomes a quotation, and quoting the answer with a bare "yes" decides nothing, since the
 * commands in it have a full-width slash.
 */
export function toModelAnswer(text: string): string {
  return text
    .split('\n')
    .map((line) => (lineOfOurs.test(line.normalize('NFKC')) ? `> ${line.replace(/^[\s>#]+/, '')}` : line))
    .join('\n')
    .replace(deciding, '／');
}
