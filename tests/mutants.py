"""Breaks of the code, and the test that each must fail: who guards the guards?

    python tests/mutants.py [FILTER]      only those whose file, edit or test contains FILTER

Each mutant is one edit of the source, made in a copy of the repository in a temporary folder. Its test has to fail there.
Exit status 1 if one survives, or if an edit no longer fits the source. Run by hand: pytest does not collect this file.
"""
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Mutant:
    file: str # what is edited
    old: str # stands in the file exactly once
    new: str # what it becomes
    test: str # must fail


def fid(old, new, test): return Mutant("gan_course/fid.py", old, new, f"tests/test_fid.py::{test}")
def train(old, new, test): return Mutant("gan_course/train.py", old, new, f"tests/test_train.py::{test}")


MUTANTS = [
    # the two steps
    train("    fake = fake.detach()  # no gradient reaches G\n", "", "test_d_step_moves_d_and_leaves_g"),
    train("b.copy_(old)", "pass", "test_accuracy_on_real_leaves_d_as_it_was"),
    train("    with frozen(D):\n        real_logits", "    with frozen(D.eval()):\n        real_logits", "test_g_step_has_the_gradient_through_d_in_train_mode"),
    train("(real_logits > loss.watershed)", "(real_logits >= loss.watershed)", "test_accuracy_counts_a_tie_as_fake"),
    train("    finally: G.train(mode)", "    finally: pass", "test_generate_restores_the_mode_and_moves_nothing"),
    train("    G.eval()\n    try: return", "    try: return", "test_generate_restores_the_mode_and_moves_nothing"),
    # the loop, resume and the run folder
    train("seeded(t.config.seed, t.epoch + 1)", "seeded(t.config.seed)", "test_every_epoch_has_an_order_of_its_own_and_the_average_slows_down"),
    train("updates = t.epoch * (len(batches) // c.d_steps)", "updates = 0", "test_every_epoch_has_an_order_of_its_own_and_the_average_slows_down"),
    train('("ema", t.ema)): net.load', "): net.load", "test_resume_is_exact"),
    train('opt.load_state_dict({"state": state,', 'opt.load_state_dict({"state": {},', "test_resume_is_exact"),
    train('[row for row in t.history if row["epoch"] <= t.epoch]', "t.history", "test_a_crash_while_a_checkpoint_is_written_loses_nothing"),
    train("purge_step=t.epoch + 1", "purge_step=None", "test_events_carry_the_numbers_of_the_history"),
    train('row["fid"] == min(measured)', "True", "test_hooks_fill_the_row_and_the_best_is_kept"),
    train("if out.exists() and (not", "if False and (not", "test_an_existing_folder_is_not_overwritten"),
    train("    if len(images) < config.batch_size * config.d_steps:", "    if False:", "test_bad_input_is_named"),
    # the distance
    fid("- 2 * root_trace(cov1, cov2))", "- root_trace(cov1, cov2))", "test_diagonal_covariances_have_a_closed_form"),
    fid("((mu1 - mu2).square().sum() + cov1.trace()", "((mu1 - mu2).abs().sum() + cov1.trace()", "test_a_shift_adds_its_square"),
    fid("half = vectors * values.clamp_min(0).sqrt()", "half = vectors * values.clamp_min(0)", "test_covariances_that_do_not_commute_agree_with_scipy"),
    fid("torch.linalg.eigvalsh(half.T @ cov2 @ half).clamp_min(0).sqrt().sum().item()",
        "(values.clamp_min(0) * torch.linalg.eigvalsh(cov2).clamp_min(0)).sqrt().sum().item()", "test_covariances_that_do_not_commute_agree_with_scipy"),
    fid('.to("cpu", torch.float64) for x in', '.to("cpu", torch.float32) for x in', "test_float64_matters"),
    fid("values.clamp_min(0).sqrt()  #", "values.sqrt()  #", "test_fewer_images_than_dimensions"),
    fid("if not x.isfinite().all(): raise InputError(f\"{name} holds", "if False: raise InputError(f\"{name} holds", "test_wrong_features_give_no_number"),
    fid("if tuple(x.shape) != shape:", "if False:", "test_wrong_features_give_no_number"),
    # statistics
    fid("return self._scatter / (self.n - 1)", "return self._scatter / self.n", "test_streaming_equals_numpy_whatever_the_batch"),
    fid("alpha=self.n * n / total)", "alpha=0.)", "test_streaming_equals_numpy_whatever_the_batch"),
    fid("self._mean += shift * (n / total)", "self._mean += shift / 2", "test_streaming_equals_numpy_whatever_the_batch"),
    fid("        x = features.double()\n        mean", "        x = features.float()\n        mean", "test_streaming_equals_numpy_whatever_the_batch"),
    fid("self._scatter.add_(scatter)", "self._scatter", "test_order_and_merging_change_nothing"),
    fid("max(self.keep, self.dim) if self.n <= self.dim else self.keep", "max(self.keep, self.dim)", "test_features_are_held_while_there_are_fewer_than_dimensions"),
    fid("max(self.keep, self.dim) if self.n <= self.dim else self.keep", "self.keep", "test_features_are_held_while_there_are_fewer_than_dimensions"),
    fid("part[:room].clone() if room < len(part) else part", "part", "test_keep_holds_the_first_ones_however_the_batches_fall"),
    fid('tensors = {"mean": stats._mean, "scatter": stats._scatter}', 'tensors = {"mean": stats._mean, "scatter": stats.cov}', "test_save_and_load"),
    fid("if other.extractor != self.extractor:", "if False:", "test_statistics_of_another_extractor_are_refused"),
    fid("    if a.extractor != b.extractor:", "    if False:", "test_statistics_of_another_extractor_are_refused"),
    fid("    if fewest < 2: raise", "    if False: raise", "test_wrong_features_give_no_number"),
    fid("if not features.isfinite().all(): raise", "if False: raise", "test_wrong_features_give_no_number"),
    # fewer images than dimensions
    fid("    if fewest <= a.dim:\n", "    if False:\n", "test_fewer_images_than_dimensions"),
    fid("    if fewest <= a.dim:\n", "    if True:\n", "test_fewer_images_than_dimensions"),
    fid("/ math.sqrt(len(x) - 1)  #", "/ math.sqrt(len(x))  #", "test_fewer_images_than_dimensions"),
    fid("if not (max(a.n, b.n) <= a.dim and a.holds_all and b.holds_all): return", "if True: return", "test_the_low_rank_distance_is_taken_where_it_can"),
    fid("torch.linalg.svdvals(centred(x) @ centred(y).T).sum()", "torch.linalg.svdvals(centred(x) @ centred(y).T).square().sum()", "test_fewer_images_than_dimensions"),
    # bias
    fid("np.polyfit([1 / n for n in sizes], distances, 1)", "np.polyfit(sizes, distances, 1)", "test_extrapolation_takes_the_bias_away"),
    fid("return float(at_zero), sizes", "return float(slope), sizes", "test_extrapolation_takes_the_bias_away"),
    # images in
    fid("at = torch.arange(size, dtype=x.dtype, device=x.device) * (length / size)",
        "at = ((torch.arange(size, dtype=x.dtype, device=x.device) + .5) * (length / size) - .5).clamp_min(0)", "test_the_resize_is_torch_fidelitys_bit_for_bit"),
    fid("(low + 1).clamp_max(length - 1)", "low.clamp_max(length - 1)", "test_the_resize_is_torch_fidelitys_bit_for_bit"),
    fid("conv.bias = nn.Parameter((bn.bias.double() - bn.running_mean.double() * scale)", "conv.bias = nn.Parameter((bn.bias.double())", "test_folding_batch_norm_changes_nothing"),
    fid("if not (low >= -1 and high <= 1): raise", "if False: raise", "test_wrong_images_give_no_number"),
    fid("if not (low >= -1 and high <= 1): raise", "if low < -1 or high > 1: raise", "test_one_nan_among_many_pixels_is_found"),
    fid("if low >= 0: raise", "if False: raise", "test_wrong_images_give_no_number"),
    fid("if images.ndim != 4 or images.shape[1] not in (1, 3):", "if images.ndim != 4:", "test_wrong_images_give_no_number"),
    fid("if images.dtype != torch.uint8: raise", "if False: raise", "test_wrong_images_give_no_number"),
    fid("    if len(index) < 2: raise", "    if False: raise", "test_wrong_sources_give_no_number"),
    fid("    if len(files) < 2: raise", "    if False: raise", "test_wrong_sources_give_no_number"),
    fid("order = torch.randperm(total, generator=seeded(2020))", "order = torch.arange(total)", "test_images_are_taken_at_random"),
    fid("yield from same_size(list(", "yield from iter(list(", "test_folders_are_read_at_their_own_size"),
    fid("(--extractor small)", "", "test_without_weights_and_network_the_message_says_what_to_do"),
    # KID
    fid("total += (k.sum() - k.diagonal().sum()).item()", "total += k.sum().item()", "test_kid_is_what_the_formula_says"),
    fid("return total / (len(x) * (len(y) - same))", "return total / (len(x) * len(y))", "test_kid_is_unbiased_and_may_be_negative"),
    fid("k = k * k * k", "k = k * k", "test_kid_equals_torch_fidelity_on_its_subsets"),
    fid("k = a @ b.T / x.shape[1] + 1", "k = a @ b.T + 1", "test_kid_equals_torch_fidelity_on_its_subsets"),
    fid("- 2 * kernel_mean(real, fake)", "- kernel_mean(real, fake)", "test_kid_is_unbiased_and_may_be_negative"),
    fid("total += k.sum().item() * (1 + same)", "total += k.sum().item()", "test_kid_does_not_depend_on_the_chunk"),
    # precision, recall, density, coverage
    fid(".kthvalue(k + 1, dim=1)", ".kthvalue(k, dim=1)", "test_prdc_equals_the_package"),
    fid("inside |= in_ball.any(0)", "inside |= (d < fake_radii).any(0)", "test_prdc_equals_the_package"),
    fid("recalled += (d < fake_radii)", "recalled += (d < radius[:, None])", "test_prdc_equals_the_package"),
    fid("density=density / (k * len(fake))", "density=density / len(fake)", "test_prdc_equals_the_package"),
    fid("covered += in_ball.any(1).sum().item()", "covered += in_ball.all(1).sum().item()", "test_prdc_equals_the_package"),
    fid("return dict(precision=inside.double().mean().item(), recall=recalled / len(real),", "return dict(recall=inside.double().mean().item(), precision=recalled / len(real),",
        "test_a_tight_cluster_inside_the_data_is_precise_and_recalls_little"),
    fid("x, y = a.double(), b.double()", "x, y = a.half().float(), b.half().float()", "test_prdc_equals_the_package"),
    fid("if k < 1 or min(len(real), len(fake)) <= k:", "if False:", "test_wrong_features_give_no_number"),
    # protocol, cache, hook
    fid('if real.extractor == "inception" else', "if True else", "test_another_extractor_never_says_fid"),
    fid("{p['n_real']:,} images", "images", "test_evaluate_says_its_whole_protocol"),
    fid("key = [images.name, images.split, digest(pixels)]", "key = [images.name, images.split]", "test_statistics_are_computed_once"),
    fid("extractor=[extractor.name, extractor.version]", "extractor=[extractor.name]", "test_statistics_are_computed_once"),
    fid("extractor.version], keep=keep)", "extractor.version])", "test_statistics_are_computed_once"),
    fid("    if file.is_file():\n        try: return", "    if False:\n        try: return", "test_statistics_are_computed_once"),
    fid('["folder", stamps(folder, files)]', '["folder", files]', "test_a_changed_folder_is_measured_anew"),
    fid("from_generator(training.ema,", "from_generator(training.G,", "test_the_hook_measures_the_average_with_the_same_latents"),
    fid("if training.epoch % every and training.epoch != training.config.epochs:", "if training.epoch % every:", "test_the_hook_fills_the_history_and_disturbs_nothing"),
    fid('if extractor.name == "inception": return dict', "if True: return dict", "test_the_hook_leaves_fid_empty_for_another_extractor"),
]


def verdict(mutant):
    source = (ROOT / mutant.file).read_text(encoding="utf-8")
    if (found := source.count(mutant.old)) != 1: return f"NO FIT: the edit stands {found} times in the file"
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "copy"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "_*s", "__pycache__", "nbs", "build", "*.egg-info", "ready"))
        (copy / mutant.file).write_text(source.replace(mutant.old, mutant.new), encoding="utf-8")
        done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", mutant.test], cwd=copy, capture_output=True,
                              text=True, env={**os.environ, "PYTHONPATH": str(copy)})
    if done.returncode == 1: return "caught"
    return "SURVIVED" if done.returncode == 0 else f"BROKEN: pytest ended with {done.returncode}: {done.stdout[-300:]}"


if __name__ == "__main__":
    wanted = [m for m in MUTANTS if len(sys.argv) < 2 or sys.argv[1] in f"{m.file} {m.old} {m.test}"]
    failed = 0
    for m in wanted:
        result = verdict(m)
        failed += result != "caught"
        print(f"{result:10} {m.test.split('::')[1]:62} {' '.join(m.old.split())[:50]} → {' '.join(m.new.split())[:30]}", flush=True)
    print(f"{len(wanted) - failed} of {len(wanted)} caught")
    sys.exit(failed > 0)
