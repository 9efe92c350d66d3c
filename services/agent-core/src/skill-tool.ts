import type { OfferedTool, SkillSummary } from './model-step.ts';
import type { Skill } from './parse-skill.ts';

/** No tool may have this name: a call of it only reads a skill, changes nothing and needs no verdict. */
export const skillToolName = 'use_skill';

/** The function by which the model gets the text of a skill. */
export function buildSkillTool(skills: readonly SkillSummary[]): OfferedTool {
  return {
    name: skillToolName,
    description: 'Returns the instructions of a skill. Changes nothing.',
    parameters: {
      type: 'object',
      properties: { name: { type: 'string', enum: skills.map(({ name }) => name) } },
      required: ['name'],
      additionalProperties: false,
    },
    judged: 'allow',
  };
}

/** The skills that the model is told of: those that can be used with these tools and are not kept from it. */
export function listModelSkills(skills: readonly Skill[]): SkillSummary[] {
  return skills
    .filter(({ modelInvocable, body }) => modelInvocable && body !== '')
    .map(({ name, description }) => ({ name, description }));
}

/** What `use_skill` returns: the skill's text, or null when no skill that the model may use has this name. */
export function readSkill(skills: readonly Skill[], name: unknown): string | null {
  return skills.find((skill) => skill.name === name && skill.modelInvocable && skill.body !== '')?.body ?? null;
}
