"""Breaks of the code, and the test that each must fail: who guards the guards?

    python tests/mutants.py [FILTER]      only those whose file, edit or test contains FILTER

Each mutant is one edit of the source, made in a copy of the repository in a temporary folder. Its test has to fail there.
Exit status 1 if one survives, or if an edit no longer fits the source. Run by hand: pytest does not collect this file.
"""
import os
import resource
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
def data(old, new, test): return Mutant("gan_course/data.py", old, new, f"tests/test_data.py::{test}")
def fault(old, new, test): return Mutant("gan_course/train.py", old, new, f"tests/test_faults.py::{test}")
def share(old, new, test): return Mutant("gan_course/train.py", old, new, f"tests/test_processes.py::{test}")
def latent(old, new, test): return Mutant("gan_course/latent.py", old, new, f"tests/test_latent.py::{test}")
def widgets(old, new, test): return Mutant("gan_course/widgets.py", old, new, f"tests/test_widgets.py::{test}")
def train(old, new, test): return Mutant("gan_course/train.py", old, new, f"tests/test_train.py::{test}")
def sagan(old, new, test, file="sagan"): return Mutant(f"gan_course/{file}.py", old, new, f"tests/test_sagan.py::{test}")
def toy(old, new, test): return Mutant("gan_course/toy.py", old, new, f"tests/test_toy.py::{test}")
def dcgan(old, new, test): return Mutant("gan_course/dcgan.py", old, new, f"tests/test_dcgan.py::{test}")
def losses(old, new, test): return Mutant("gan_course/losses.py", old, new, f"tests/test_losses.py::{test}")
def gradcam(old, new, test): return Mutant("gan_course/gradcam.py", old, new, f"tests/test_gradcam.py::{test}")


MUTANTS = [
    # the two steps
    train("    fake = fake.detach()  # no gradient reaches G\n", "", "test_d_step_moves_d_and_leaves_g"),
    train("b.copy_(old)", "pass", "test_accuracy_on_real_leaves_d_as_it_was"),
    train("    with frozen(D):\n        real_logits", "    with frozen(D.eval()):\n        real_logits", "test_g_step_has_the_gradient_through_d_in_train_mode"),
    train("(real_logits > loss.watershed)", "(real_logits >= loss.watershed)", "test_accuracy_counts_a_tie_as_fake"),
    train("    finally: G.train(mode)", "    finally: pass", "test_generate_restores_the_mode_and_moves_nothing"),
    train("    G.eval()\n    try: return", "    try: return", "test_generate_restores_the_mode_and_moves_nothing"),
    # few images
    train("real, fake = view(real), view(fake)", "real = view(real)", "test_d_sees_real_and_fake_through_the_same_view_in_both_steps"),
    train("g_loss = loss.g(D(view(fake)), real_logits)", "g_loss = loss.g(D(fake), real_logits)", "test_d_sees_real_and_fake_through_the_same_view_in_both_steps"),
    train("torch.rand(config.batch_size, 7, generator=generator)", "torch.rand(config.batch_size, 7, generator=seeded(0))", "test_a_run_augments_every_batch_with_numbers_of_its_own"),
    train("view(x) if view else x, loss.watershed", "x, loss.watershed", "test_a_run_augments_every_batch_with_numbers_of_its_own"),
    data("(x - grey) * 2 * saturation", "(x - grey) * saturation", "test_color_moves_brightness_then_saturation_then_contrast"),
    data("x = x + brightness - .5", "x = x + brightness", "test_color_moves_brightness_then_saturation_then_contrast"),
    data("(v * (2 * (side // 8) + 1)).long()", "(v * 2 * (side // 8)).long()", "test_translation_moves_by_up_to_an_eighth_and_fills_with_zeros"),
    data("rows[:, :, None], columns[:, None]", "rows[:1, :, None], columns[:1, None]", "test_translation_moves_by_up_to_an_eighth_and_fills_with_zeros"),
    data("(v * (side + 1)).long() - side // 4", "(v * (side + 1)).long()", "test_cutout_is_one_square_of_half_the_side"),
    # the loop, resume and the run folder
    train("seeded(t.config.seed, t.epoch + 1)", "seeded(t.config.seed)", "test_every_epoch_has_an_order_of_its_own_and_the_average_slows_down"),
    train("updates = t.epoch * (len(batches) // c.d_steps)", "updates = 0", "test_every_epoch_has_an_order_of_its_own_and_the_average_slows_down"),
    train('("ema", t.ema)): net.load', "): net.load", "test_resume_is_exact"),
    train('return {"state": state, "param_groups"', 'return {"state": {}, "param_groups"', "test_resume_is_exact"),
    train('[row for row in t.history if row["epoch"] <= t.epoch]', "t.history", "test_a_crash_while_a_checkpoint_is_written_loses_nothing"),
    train("purge_step=t.epoch + 1", "purge_step=None", "test_events_carry_the_numbers_of_the_history"),
    train('row["fid"] == min(measured)', "True", "test_hooks_fill_the_row_and_the_best_is_kept"),
    train("if os.path.lexists(out) and not (", "if False and not (", "test_an_existing_folder_is_not_overwritten"),
    train("    if len(images) < config.batch_size * config.d_steps:", "    if False:", "test_bad_input_is_named"),
    # the steps once more, several processes, faults
    train("(fake_logits <= loss.watershed)", "(fake_logits < loss.watershed)", "test_accuracy_counts_a_tie_as_fake"),
    train("    for p in D.parameters(): p.requires_grad_(False)\n    try: yield D", "    try: yield D", "test_g_step_has_the_gradient_through_d_in_train_mode"),
    train("for p, w in zip(D.parameters(), wanted): p.requires_grad_(w)", "pass", "test_g_step_has_the_gradient_through_d_in_train_mode"),
    train("    real_logits, fake_logits = D(real), D(fake)  # (B,), (B,)", "    real_logits, fake_logits = D(torch.cat([real, fake])).chunk(2)", "test_real_and_fake_have_statistics_of_their_own"),
    train("    opt_d.zero_grad()\n", "", "test_each_step_begins_without_gradients"),
    train("        opt_g.zero_grad()\n", "", "test_each_step_begins_without_gradients"),
    train("    total = loss_real + loss_fake\n", "    total = loss_real\n", "test_the_d_step_goes_down_both_losses"),
    train('for name, content in (*((name, weights) for name in copies), ("last", tensors)):', 'for name, content in (("last", tensors), *((name, weights) for name in copies)):',
          "test_the_best_is_written_before_the_epoch_counts"),
    train('if t.epoch and not part(name): raise', 'if False: raise', "test_a_foreign_checkpoint_is_not_resumed"),
    fault("    _check_inside(path)\n", "", "test_nothing_leads_out_of_a_run"),
    fault("    if numbers * 4 * copies > memory:", "    if False:", "test_giants_are_refused_before_memory_is_asked_for"),
    fault("if not isinstance(value, wanted) or", "if False or", "test_a_config_of_wrong_kinds_is_named"),
    fault("if picture.size != wanted: raise", "if False: raise", "test_giants_are_refused_before_memory_is_asked_for"),
    fault("rglob(\".tmp*\")", "rglob(\"tmp*\")", "test_killed_before_its_first_checkpoint_it_begins_again"),
    fault("rglob(\".*.part\")", "rglob(\"part\")", "test_killed_before_its_first_checkpoint_it_begins_again"),
    fault("    if not begun and (run.history or any(run.epochs)): raise", "    if False: raise", "test_a_lost_checkpoint_is_no_beginning"),
    fault("if known and wanted and known | dict(every=0) != wanted | dict(every=0):", "if False:", "test_the_protocol_of_the_fid_is_kept"),
    fault("    except (OSError, SafetensorError) as e:\n        why", "    except ZeroDivisionError as e:\n        why", "test_a_full_disk_stops_the_run_and_space_lets_it_go_on"),
    share('lambda flat: accelerator.reduce(flat, "mean"))', "lambda flat: accelerator.reduce(flat))", "test_without_batch_norm_two_processes_are_one"),
    share("    return slice(_processes().process_index * part, (_processes().process_index + 1) * part)", "    return slice(0, part)", "test_two_processes_share_each_batch"),
    share("            torch.rand(share.start, generator=generator)  # what", "            pass  # what", "test_without_batch_norm_two_processes_are_one"),
    share("    if _several() > 1: _meet(t, sums)\n", "", "test_both_end_with_equal_networks"),
    share("if batch_size % _several(): raise", "if False: raise", "test_errors_end_all_processes_and_are_said_once"),
    share("torch.set_num_threads(1 if forked else", "torch.set_num_threads(2 if forked else", "test_two_processes_share_each_batch"),
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
    # DCGAN's networks
    dcgan("h.mean((2, 3)) if", "h.sum((2, 3)) if", "test_heads_are_what_they_are_called"),
    dcgan("else h.flatten(1)  #", "else h.permute(0, 2, 3, 1).flatten(1)  #", "test_heads_are_what_they_are_called"),
    dcgan('h.mean((2, 3)) if self.head_name == "gap"', 'h.mean((2, 3)) if self.head_name == "fc"', "test_heads_are_what_they_are_called"),
    dcgan("if h.shape[1] != self.head.in_features:", "if False:", "test_fc_head_refuses_another_size"),
    dcgan("    if img_size not in SIZES:", "    if False:", "test_sizes_and_heads_that_are_not_there_are_refused"),
    dcgan('choose(head, HEADS, "head")', "head", "test_sizes_and_heads_that_are_not_there_are_refused"),
    dcgan("4, 2, 1), nn.Tanh()]", "4, 2, 1)]", "test_images_stay_in_range_whatever_the_weights"),
    dcgan("4, 2, 1), nn.Tanh()]", "4, 2, 1), nn.Sigmoid()]", "test_images_stay_in_range_whatever_the_weights"),
    dcgan("nn.Conv2d(img_channels, c, 4, 2, 1), nn.LeakyReLU(.2, True)]", "nn.Conv2d(img_channels, c, 4, 2, 1), nn.BatchNorm2d(c), nn.LeakyReLU(.2, True)]", "test_layers_stand_as_the_paper_says"),
    dcgan("nn.BatchNorm2d(c * 2), nn.LeakyReLU(.2, True)]", "nn.BatchNorm2d(c * 2), nn.LeakyReLU(.01, True)]", "test_layers_stand_as_the_paper_says"),
    dcgan("nn.BatchNorm2d(c // 2), nn.ReLU(True)]", "nn.ReLU(True)]", "test_layers_stand_as_the_paper_says"),
    # its initial weights, and pairs by name
    dcgan("m.weight.copy_(.02 * torch.randn", "m.weight.copy_(.04 * torch.randn", "test_initial_weights_of_every_layer"),
    dcgan("m.weight.copy_(1 + .02 * torch.randn", "m.weight.copy_(.02 * torch.randn", "test_initial_weights_of_every_layer"),
    dcgan("is not None: m.bias.zero_()", "is not None: pass", "test_initial_weights_of_every_layer"),
    dcgan("    generator = seeded(seed, 0)\n", "    generator = seeded(0, 0)\n", "test_every_seed_has_weights_of_its_own"),
    dcgan("    with torch.random.fork_rng(devices=[]):", "    if True:", "test_building_moves_no_global_random_number"),
    dcgan("        torch.default_generator.manual_seed(generator.initial_seed())\n", "", "test_own_init_is_kept_and_comes_from_the_seed"),
    dcgan('net if getattr(net, "own_init", False) else init_weights', "init_weights", "test_own_init_is_kept_and_comes_from_the_seed"),
    dcgan('MODEL_DEFAULTS["dcgan"] | (defaults or {})', "defaults or {}", "test_defaults_of_a_model_are_its_own"),
    dcgan('    MODEL_DEFAULTS[name] = MODEL_DEFAULTS["dcgan"] | (defaults or {})', '    MODEL_DEFAULTS["dcgan"].update(defaults or {}); MODEL_DEFAULTS[name] = MODEL_DEFAULTS["dcgan"]', "test_defaults_of_a_model_are_its_own"),
    dcgan("    if isinstance(build, str):", "    if False:", "test_a_builder_is_looked_up_when_it_is_asked_for"),
    dcgan("    if latent_dim < 1 or base_channels < 1:", "    if False:", "test_widths_below_one_are_refused"),
    # the first GAN
    toy("angle = torch.arange(8) * (2 * math.pi / 8)", "angle = torch.arange(7) * (2 * math.pi / 7)", "test_modes_are_equally_frequent_and_as_wide_as_said"),
    toy("    return place + SIGMA * torch.randn(n, 2, generator=generator)", "    return place + SIGMA * torch.randn(n, 2)", "test_points_depend_on_the_generator_alone"),
    toy("    return place + SIGMA * torch.randn(n, 2, generator=generator)", "    return place + 2 * SIGMA * torch.randn(n, 2, generator=generator)", "test_modes_are_equally_frequent_and_as_wide_as_said"),
    toy("torch.randint(len(modes), (n,), generator=generator)", "torch.randint(len(modes) - 1, (n,), generator=generator)", "test_modes_are_equally_frequent_and_as_wide_as_said"),
    toy("torch.rand(n, generator=generator).sqrt()", "torch.rand(n, generator=generator)", "test_curves_lie_where_they_should_and_are_evenly_filled"),
    toy("torch.where(upper[:, None], arc, -arc)", "torch.where(upper[:, None], arc, arc)", "test_curves_lie_where_they_should_and_are_evenly_filled"),
    toy("    if n < 1: raise InputError", "    if False: raise InputError", "test_bad_input_is_named"),
    toy("return self.layers(x).squeeze(1)", "return self.layers(x)", "test_players_have_the_course_s_conventions"),
    toy("- 1) / math.sqrt(layer.in_features)", "- 1) / layer.in_features", "test_initial_weights_have_the_variance_that_was_said"),
    toy("good = distance <= k * sigma", "good = distance <= sigma", "test_coverage_equals_brute_force"),
    toy("torch.bincount(nearest[good], minlength=len(modes))", "torch.bincount(nearest, minlength=len(modes))", "test_coverage_equals_brute_force"),
    toy("counts >= max(1, least", "counts >= max(0, least", "test_a_mode_needs_a_tenth_of_its_share"),
    toy("counts >= max(1, least", "counts > max(1, least", "test_a_mode_needs_a_tenth_of_its_share"),
    toy("good = distance <= k * sigma", "good = ~(distance > k * sigma)", "test_what_is_not_finite_is_not_good"),
    toy("    if modes is None: raise InputError", "    if False: raise InputError", "test_bad_input_is_named"),
    toy("return -len(x) * torch.autograd.grad(g_loss, x)[0]", "return -torch.autograd.grad(g_loss, x)[0]", "test_pulls_are_the_slope_of_the_loss"),
    toy("return -len(x) * torch.autograd.grad(g_loss, x)[0]", "return len(x) * torch.autograd.grad(g_loss, x)[0]", "test_pulls_are_the_slope_of_the_loss"),
    toy(".reshape(side, side).T", ".reshape(side, side)", "test_a_snapshot_says_what_d_says"),
    toy("(fake_logits <= loss.watershed)", "(fake_logits > loss.watershed)", "test_a_snapshot_says_what_d_says"),
    toy("ToyDiscriminator(c.hidden, weights)\n", "ToyDiscriminator(c.hidden, seeded(0))\n", "test_the_steps_are_those_of_lesson_05"),
    toy("get_loss(config.loss), seeded(config.seed, 1)", "get_loss(config.loss), seeded(0, 1)", "test_the_same_seed_gives_the_same_game_and_another_another"),
    toy("seeded(config.seed, 1)\n    weights = seeded(c.seed, 0)", "seeded(config.seed, 1)\n    weights = seeded(0, 0)", "test_the_same_seed_gives_the_same_game_and_another_another"),
    toy("for _ in range(c.d_steps):", "for _ in range(1):", "test_the_steps_are_those_of_lesson_05"),
    toy("opt_d.zero_grad(); d_loss", "d_loss", "test_the_steps_are_those_of_lesson_05"),
    toy("opt_g.zero_grad(); g_loss", "g_loss", "test_the_steps_are_those_of_lesson_05"),
    toy("        D.requires_grad_(True)\n", "", "test_the_steps_are_those_of_lesson_05"),
    toy("c.lr_d, (c.beta1, .999)", "c.lr_g, (c.beta1, .999)", "test_each_player_moves_in_its_own_step_only"),
    toy("if c.r1: d_loss", "if False: d_loss", "test_r1_flattens_d"),
    toy("if loss.gp: d_loss", "if False: d_loss", "test_the_gradient_penalty_is_asked_for_by_its_loss"),
    toy("D(sample_toy(c.data, c.batch_size, draw)) if loss.paired else None)", "None)", "test_every_loss_plays"),
    toy("for _ in range(c.g_steps):", "for _ in range(1):", "test_the_steps_are_those_of_lesson_05"),
    toy("if step % every == 0: yield", "yield", "test_looking_changes_nothing"),
    toy("    if every < 1: raise InputError", "    if False: raise InputError", "test_bad_input_is_named"),
    toy("if not (math.isfinite(value) and value >= low):", "if value < low:", "test_bad_input_is_named"),
    toy("        if self.beta1 >= 1: raise", "        if False: raise", "test_bad_input_is_named"),
    # the losses: values, signs, labels
    losses("return F.softplus(-real_logits.float()).mean(), F.softplus(fake_logits.float()).mean()",
        "return F.softplus(real_logits.float()).mean(), F.softplus(-fake_logits.float()).mean()", "test_each_player_is_paid_for_the_right_direction"),
    losses("return F.softplus(-real_logits.float()).mean(), F.softplus(fake_logits.float()).mean()",
        "return F.softplus(-real_logits.float()).mean() / 2, F.softplus(fake_logits.float()).mean() / 2", "test_values_and_gradients_equal_those_of_pytorch_in_float64"),
    losses("return F.softplus(-real_logits.float()).mean(), F.softplus(fake_logits.float()).mean()",
        "return F.softplus(fake_logits.float()).mean(), F.softplus(-real_logits.float()).mean()", "test_values_and_gradients_equal_those_of_pytorch_in_float64"),
    losses("return F.softplus(-real_logits.float()).mean(), F", "return -real_logits.float().sigmoid().log().mean(), F", "test_extreme_logits_give_finite_values_and_gradients"),
    losses("return F.softplus(-real_logits.float()).mean(), F", "return F.softplus(-real_logits.float()).sum(), F", "test_batch_size_does_not_scale_the_loss"),
    losses("return F.softplus(-real_logits.float()).mean(), F", "return F.softplus(-real_logits).mean(), F", "test_losses_are_float32_scalars_computed_in_float32"),
    losses("return -F.softplus(fake_logits.float()).mean()", "return F.softplus(fake_logits.float()).mean()", "test_each_player_is_paid_for_the_right_direction"),
    losses("return -F.softplus(fake_logits.float()).mean()", "return F.softplus(-fake_logits.float()).mean()", "test_values_and_gradients_equal_those_of_pytorch_in_float64"),
    losses("return -F.softplus(fake_logits.float()).mean()", "return (1 - fake_logits.float().sigmoid()).log().mean()", "test_extreme_logits_give_finite_values_and_gradients"),
    losses("    return F.softplus(-fake_logits.float()).mean()\n", "    return -F.softplus(fake_logits.float()).mean()\n", "test_values_and_gradients_equal_those_of_pytorch_in_float64"),
    losses("    return F.softplus(-fake_logits.float()).mean()\n", "    return F.softplus(fake_logits.float()).mean()\n", "test_each_player_is_paid_for_the_right_direction"),
    losses("    return F.softplus(-fake_logits.float()).mean()\n", "    return -fake_logits.float().sigmoid().log().mean()\n", "test_extreme_logits_give_finite_values_and_gradients"),
    losses("    return F.softplus(-fake_logits.float()).mean()\n", "    return F.softplus(-fake_logits.float()).sum()\n", "test_batch_size_does_not_scale_the_loss"),
    losses("return (real_logits.float() - 1).square().mean() / 2, fake_logits.float().square().mean() / 2",
        "return (real_logits.float() - 1).square().mean(), fake_logits.float().square().mean()", "test_values_and_gradients_equal_those_of_pytorch_in_float64"),
    losses("return (real_logits.float() - 1).square().mean() / 2, fake_logits.float().square().mean() / 2",
        "return (real_logits.float() - 1).square().mean() / 2, (fake_logits.float() + 1).square().mean() / 2", "test_values_and_gradients_equal_those_of_pytorch_in_float64"),
    losses("return (real_logits.float() - 1).square().mean() / 2, fake_logits.float().square().mean() / 2",
        "return real_logits.float().square().mean() / 2, (fake_logits.float() - 1).square().mean() / 2", "test_each_player_is_paid_for_the_right_direction"),
    losses("return (fake_logits.float() - 1).square().mean() / 2", "return fake_logits.float().square().mean() / 2", "test_each_player_is_paid_for_the_right_direction"),
    losses("return (fake_logits.float() - 1).square().mean() / 2", "return (fake_logits.float() - 1).square().mean()", "test_values_and_gradients_equal_those_of_pytorch_in_float64"),
    losses("return F.relu(1 - real_logits.float()).mean(), F.relu(1 + fake_logits.float()).mean()",
        "return F.relu(-real_logits.float()).mean(), F.relu(fake_logits.float()).mean()", "test_values_and_gradients_equal_those_of_pytorch_in_float64"),
    losses("return F.relu(1 - real_logits.float()).mean(), F.relu(1 + fake_logits.float()).mean()",
        "return F.relu(1 + real_logits.float()).mean(), F.relu(1 - fake_logits.float()).mean()", "test_each_player_is_paid_for_the_right_direction"),
    losses("return F.relu(1 - real_logits.float()).mean(), F.relu(1 + fake_logits.float()).mean()",
        "return (1 - real_logits.float()).mean(), (1 + fake_logits.float()).mean()", "test_values_and_gradients_equal_those_of_pytorch_in_float64"),
    losses("return F.relu(1 - real_logits.float()).mean(), F.relu(1 + fake_logits.float()).mean()",
        "return F.relu(1 - real_logits.float().mean()), F.relu(1 + fake_logits.float().mean())", "test_values_and_gradients_equal_those_of_pytorch_in_float64"),
    losses("eq. 17).\"\n    return -fake_logits.float().mean()", "eq. 17).\"\n    return fake_logits.float().mean()", "test_each_player_is_paid_for_the_right_direction"),
    losses("eq. 17).\"\n    return -fake_logits.float().mean()", "eq. 17).\"\n    return F.relu(1 - fake_logits.float()).mean()", "test_values_and_gradients_equal_those_of_pytorch_in_float64"),
    losses("return -real_logits.float().mean(), fake_logits.float().mean()", "return real_logits.float().mean(), -fake_logits.float().mean()", "test_each_player_is_paid_for_the_right_direction"),
    losses("return -real_logits.float().mean(), fake_logits.float().mean()", "return fake_logits.float().mean(), -real_logits.float().mean()", "test_values_and_gradients_equal_those_of_pytorch_in_float64"),
    losses("(Arjovsky et al. 2017).\"\n    return -fake_logits.float().mean()", "(Arjovsky et al. 2017).\"\n    return fake_logits.float().mean()", "test_each_player_is_paid_for_the_right_direction"),
    losses("(Arjovsky et al. 2017).\"\n    return -fake_logits.float().mean()", "(Arjovsky et al. 2017).\"\n    return -fake_logits.float().sum()", "test_batch_size_does_not_scale_the_loss"),
    losses("half = F.softplus(-_gap(real_logits, fake_logits)).mean() / 2", "half = F.softplus(-_gap(real_logits, fake_logits)).mean()", "test_values_and_gradients_equal_those_of_pytorch_in_float64"),
    losses("half = F.softplus(-_gap(real_logits, fake_logits)).mean() / 2", "half = F.softplus(_gap(real_logits, fake_logits)).mean() / 2", "test_each_player_is_paid_for_the_right_direction"),
    losses("return F.softplus(_gap(real_logits, fake_logits)).mean()", "return F.softplus(-_gap(real_logits, fake_logits)).mean()", "test_each_player_is_paid_for_the_right_direction"),
    losses("return F.softplus(_gap(real_logits, fake_logits)).mean()", "return -F.softplus(-_gap(real_logits, fake_logits)).mean()", "test_values_and_gradients_equal_those_of_pytorch_in_float64"),
    losses("return real_logits.float() - fake_logits.float()", "return (real_logits - fake_logits).float()", "test_losses_are_float32_scalars_computed_in_float32"),
    losses("    if real_logits is None or real_logits.shape != fake_logits.shape:", "    if False:", "test_only_a_paired_loss_asks_for_real_logits_in_the_generator_step"),
    # what a training step must know of a loss
    losses('Loss("bce", bce_d, bce_g)', 'Loss("bce", bce_d, minimax_g)', "test_values_and_gradients_equal_those_of_pytorch_in_float64"),
    losses('Loss("minimax", bce_d, minimax_g)', 'Loss("minimax", bce_d, bce_g)', "test_values_and_gradients_equal_those_of_pytorch_in_float64"),
    losses("lsgan_g, watershed=.5)", "lsgan_g)", "test_the_names_and_what_a_step_must_know"),
    losses('Loss("hinge", hinge_d, hinge_g)', 'Loss("hinge", hinge_d, hinge_g, watershed=1.)', "test_the_names_and_what_a_step_must_know"),
    losses("watershed:float=0.", "watershed:float=.5", "test_the_names_and_what_a_step_must_know"),
    losses("wgan_g, gp=10.)", "wgan_g)", "test_the_names_and_what_a_step_must_know"),
    losses("rpgan_g, paired=True)", "rpgan_g)", "test_the_names_and_what_a_step_must_know"),
    losses("@dataclass(frozen=True)", "@dataclass", "test_the_names_and_what_a_step_must_know"),
    # the penalties
    losses("torch.rand(len(real), *[1] * (real.ndim - 1), generator", "torch.rand(1, *[1] * (real.ndim - 1), generator", "test_penalties_of_a_bowl_at_any_rank"),
    losses("torch.rand(len(real), *[1] * (real.ndim - 1), generator", "torch.rand(real.shape, generator", "test_penalties_of_a_bowl_at_any_rank"),
    losses("*[1] * (real.ndim - 1), generator=generator)", "*[1] * (real.ndim - 1))", "test_epsilon_comes_from_the_generator_alone"),
    losses("epsilon * real.detach() + (1 - epsilon) * fake.detach()", "(1 - epsilon) * real.detach() + epsilon * fake.detach()", "test_penalties_of_a_bowl_at_any_rank"),
    losses("epsilon * real.detach() + (1 - epsilon) * fake.detach()", "real.detach() + epsilon * fake.detach()", "test_penalties_of_a_bowl_at_any_rank"),
    losses(".norm(dim=1) - 1).square()", ".norm(dim=1)).square()", "test_penalties_of_a_bowl_at_any_rank"),
    losses(".norm(dim=1) - 1).square()", ".square().sum(1) - 1).square()", "test_penalties_of_a_bowl_at_any_rank"),
    losses(".norm(dim=1) - 1).square()", ".norm() - 1).square()", "test_penalties_of_a_bowl_at_any_rank"),
    losses(".norm(dim=1) - 1).square()", ".square().sum(1).sqrt() - 1).square()", "test_a_flat_critic_gives_no_nan"),
    losses(".norm(dim=1) - 1).square()", ".norm(dim=1) - 1).relu().square()", "test_a_flat_critic_gives_no_nan"),
    losses("between.to(real.dtype)", "between", "test_penalties_of_a_network_in_bfloat16"),
    losses("return gradient.float().reshape(len(x), -1)", "return gradient.reshape(len(x), -1)", "test_penalties_of_a_network_in_bfloat16"),
    losses("    if real.shape != fake.shape:", "    if False:", "test_penalties_refuse_what_they_cannot_use"),
    losses("create_graph=True", "create_graph=False", "test_penalties_can_be_trained_on"),
    losses("x = x.detach().requires_grad_()", "x = x.requires_grad_()", "test_penalties_touch_nothing_but_the_parameters_of_D"),
    losses("D(x).float().sum(), x", "D(x).float().mean(), x", "test_penalties_of_a_bowl_at_any_rank"),
    losses("    if not x.is_floating_point(): raise", "    if False: raise", "test_penalties_refuse_what_they_cannot_use"),
    losses("return _input_gradient(D, real).square().sum(1).mean()", "return _input_gradient(D, real).norm(dim=1).mean()", "test_penalties_of_a_bowl_at_any_rank"),
    losses("return _input_gradient(D, real).square().sum(1).mean()", "return _input_gradient(D, real).square().mean()", "test_penalties_of_a_bowl_at_any_rank"),
    losses("return _input_gradient(D, real).square().sum(1).mean()", "return _input_gradient(D, real).square().sum(1).mean() / 2", "test_penalties_of_a_bowl_at_any_rank"),
    losses("return _input_gradient(D, real).square().sum(1).mean()", "return (_input_gradient(D, real).norm(dim=1) - 1).square().mean()", "test_penalties_of_a_bowl_at_any_rank"),
    losses("return _input_gradient(D, fake).square().sum(1).mean()", "return _input_gradient(D, fake).square().sum(1).sum()", "test_penalties_of_a_bowl_at_any_rank"),
    losses("return _input_gradient(D, fake).square().sum(1).mean()", "return _input_gradient(D, fake).square().sum(1).mean().detach()", "test_penalties_can_be_trained_on"),
    # spectral norm, self-attention and SAGAN
    sagan("dim=1 if isinstance(layer, nn.ConvTranspose2d) else 0", "dim=0", "test_the_norm_becomes_one"),
    sagan("return spectral_norm(layer,", "return layer; spectral_norm(layer,", "test_the_norm_becomes_one"),
    sagan("return normalised(nn.Conv2d(c_in, c_out, 1, bias=False))", "return normalised(nn.Conv2d(c_in, c_out, 1))", "test_projections_are_normalised_1x1_convolutions_without_bias"),
    sagan("return normalised(nn.Conv2d(c_in, c_out, 1, bias=False))", "return nn.Conv2d(c_in, c_out, 1, bias=False)", "test_projections_are_normalised_1x1_convolutions_without_bias"),
    sagan("project(channels, channels // 2), project(channels // 2, channels)", "project(channels, channels), project(channels, channels)", "test_projections_are_normalised_1x1_convolutions_without_bias"),
    sagan(".softmax(-1)", ".softmax(1)", "test_the_map_is_over_pooled_sources_and_each_row_sums_to_one"),
    sagan("F.max_pool2d(self.value(x), 2)", "F.avg_pool2d(self.value(x), 2)", "test_the_map_is_over_pooled_sources_and_each_row_sums_to_one"),
    sagan("torch.zeros(()))", "torch.full((), .01))", "test_at_gamma_zero_the_block_is_not_there"),
    sagan("self.gamma * self.out.weight", "self.gamma.abs() * self.out.weight", "test_at_gamma_zero_the_block_is_not_there"),
    sagan("v[:, None], scale=1.)", "v[:, None])", "test_both_ways_give_the_same_numbers_and_gradients"),
    sagan("F.pad(q, padding)[:, None], F.pad(k, padding)[:, None]", "q[:, None], k[:, None]", "test_the_way_is_chosen_by_size"),
    sagan("if return_map or height * width < EXPLICIT_BELOW:", "if True:", "test_the_way_is_chosen_by_size"),
    sagan("unflatten(2, (height, width))", "unflatten(2, (width, height)).transpose(2, 3)", "test_the_map_is_over_pooled_sources_and_each_row_sums_to_one"),
    sagan("if channels < 8:", "if channels < 4:", "test_too_few_channels_and_odd_sizes_are_named"),
    sagan("if height % 2 or width % 2:", "if height % 2:", "test_too_few_channels_and_odd_sizes_are_named"),
    sagan("        return y  # what the rest", "        return output  # what the rest", "test_the_map_shown_is_the_map_used"),
    sagan("network.train(mode)", "pass", "test_looking_leaves_no_trace"),
    sagan("for hook in hooks: hook.remove()", "pass", "test_looking_leaves_no_trace"),
    sagan("network.eval()(x), maps", "network(x), maps", "test_looking_leaves_no_trace"),
    sagan("abs().sum(1)[0]", "abs().sum(1)[0] + 1e-9", "test_attention_reaches_where_convolutions_do_not"),
    sagan("layers += [normalised(nn.Conv2d(c, wider, 4, 2, 1))", "layers += [nn.Conv2d(c, wider, 4, 2, 1)", "test_spectral_norm_everywhere_batch_norm_in_g_and_attention_where_asked"),
    sagan("self.head = normalised(nn.Linear(c, 1))", "self.head = nn.Linear(c, 1)", "test_spectral_norm_everywhere_batch_norm_in_g_and_attention_where_asked"),
    sagan("            if size == attention: layers.append(SelfAttention2d(wider))\n", "", "test_spectral_norm_everywhere_batch_norm_in_g_and_attention_where_asked"),
    sagan("self.head(h.sum((2, 3)))", "self.head(h.mean((2, 3)))", "test_d_sums_over_the_positions"),
    sagan("c, size = base_channels * img_size // 8, 4", "c, size = base_channels * img_size // 4, 4", "test_sizes_are_those_of_dcgan"),
    sagan("if s < img_size]", "if s <= img_size]", "test_what_cannot_be_is_named"),
    sagan('if head != "fc":', "if False:", "test_what_cannot_be_is_named"),
    sagan('"sagan": dict(loss="hinge"', '"sagan": dict(loss="bce"', "test_defaults_are_hinge_and_one_step_each", "dcgan"),
    sagan("b.copy_(old)", "pass", "test_g_step_leaves_u_and_v_of_d_and_has_its_gradient_in_train_mode", "train"),
    sagan('or name.endswith(("._u", "._v"))', "", "test_the_average_has_norm_one_too", "train"),
    # Grad-CAM and Grad-CAM++
    gradcam('if target == "real" else -output.flatten()', 'if target == "real" else output.flatten()', "test_the_score_is_the_logit_and_fake_is_its_negative"),
    gradcam("score = output.flatten() if target", "score = output.flatten().sigmoid() if target", "test_a_probability_gives_a_black_map_where_the_network_is_sure"),
    gradcam("return g.mean((2, 3))", "return g.sum((2, 3))", "test_gradcam_of_a_global_mean_has_a_closed_form"),
    gradcam("return g.mean((2, 3))", "return g.relu().mean((2, 3))", "test_minus_the_score_gives_minus_the_map"),
    gradcam("alpha = torch.where(bottom > 0, 1 / bottom, 0)", "alpha = 1 / bottom", "test_plusplus_of_a_global_mean_has_a_closed_form"),
    gradcam("lost = ((g > 0) & (bottom <= 0))", "lost = (bottom <= 0)", "test_plusplus_of_a_global_mean_has_a_closed_form"),
    gradcam("return (alpha * g.relu()).sum", "return (alpha * g).sum", "test_plusplus_of_a_global_mean_has_a_closed_form"),
    gradcam("total = A.sum((2, 3), keepdim=True)", "total = (A * g**3).sum((2, 3), keepdim=True) / g**3", "test_equation_19_by_hand"),
    gradcam("bottom = 2 + total * g ", "bottom = 1 + total * g ", "test_alpha_is_that_of_the_derivation"),
    gradcam("bottom = bottom + eps / g.square()", "bottom = bottom + eps", "test_equation_19_by_hand"),
    gradcam("alpha = torch.where(bottom > 0, 1 / bottom, 0)", "alpha = torch.where(bottom > 0, g**2 / (2 * g**2 + total * g**3), 0).nan_to_num()", "test_small_gradients_do_not_underflow"),
    gradcam("else kept[-1].clone()  #", "else kept[-1].detach()[:].requires_grad_()  #", "test_an_in_place_layer_after_the_hooked_one_changes_nothing"),
    gradcam("output.detach().clone().requires_grad_()", "output.detach().requires_grad_()", "test_a_layer_that_hands_on_its_input_may_be_overwritten_elsewhere"),
    gradcam("    model.eval()  # batch norm", "    pass  # batch norm", "test_no_image_changes_the_map_of_another"),
    gradcam("    model.eval()  # batch norm", "    pass  # batch norm", "test_hooks_modes_flags_and_gradients_are_as_found"),
    gradcam("for m, mode in modes: m.training = mode", "model.train()", "test_hooks_modes_flags_and_gradients_are_as_found"),
    gradcam("for p, w in wanted: p.requires_grad_(w)", "pass", "test_hooks_modes_flags_and_gradients_are_as_found"),
    gradcam("        finally: handle.remove()\n", "        finally: pass\n", "test_hooks_modes_flags_and_gradients_are_as_found"),
    gradcam("        finally: handle.remove()\n", "        finally: pass\n", "test_memory_is_flat_over_100_calls"),
    gradcam("        for handle in handles: handle.remove()", "        pass", "test_hooks_modes_flags_and_gradients_are_as_found"),
    gradcam("with at_rest(model), torch.enable_grad():", "with at_rest(model):", "test_it_works_without_gradients_around_it_and_leaves_no_graph"),
    gradcam("score.detach().float()", "score.float()", "test_it_works_without_gradients_around_it_and_leaves_no_graph"),
    gradcam("F.interpolate(maps.clamp(min=0)", "F.interpolate(maps", "test_heat_is_between_0_and_1_at_the_size_of_the_image_and_per_image"),
    gradcam("low, high = heat.amin((1, 2), keepdim=True), heat.amax((1, 2), keepdim=True)", "low, high = heat.amin(), heat.amax()", "test_heat_is_between_0_and_1_at_the_size_of_the_image_and_per_image"),
    gradcam("((heat - low) / torch.where(flat, 1, high - low))", "(heat / torch.where(flat, 1, high))", "test_heat_is_between_0_and_1_at_the_size_of_the_image_and_per_image"),
    gradcam("flat = high - low <= 1e-6 * high", "flat = high <= low", "test_constant_maps_are_zero_at_any_size"),
    gradcam('mode="bilinear", align_corners=False', 'mode="bilinear", align_corners=True', "test_both_methods_equal_pytorch_grad_cam"),
    gradcam("weights, lost = plusplus_weights(A, g, eps)", "weights, lost = plusplus_weights(A, g)", "test_both_methods_equal_pytorch_grad_cam"),
    gradcam("for w in (gradcam_weights(g), weights)]", "for w in (weights, gradcam_weights(g))]", "test_both_methods_equal_pytorch_grad_cam"),
    # layers and bad input
    gradcam("if calls[name] == 1: found", "if True: found", "test_layers_are_those_with_spatial_extent"),
    gradcam("and output[0, 0].numel() > 1:", "and True:", "test_layers_are_those_with_spatial_extent"),
    gradcam("found.setdefault((id(output), version)", "found.setdefault((name, version)", "test_layers_are_those_with_spatial_extent"),
    gradcam("found.setdefault((id(output), version)", "found.setdefault(id(output)", "test_spectrally_normalised_kernels_are_no_layers"),
    gradcam('if name and "parametrizations" not in name]', "if name]", "test_spectrally_normalised_kernels_are_no_layers"),
    gradcam("if len(kept) != 1: fault", "if not kept: fault", "test_layers_are_those_with_spatial_extent"),
    gradcam("kept[0].ndim != 4 or ", "", "test_rows_of_tokens_have_no_spatial_extent"),
    gradcam("or kept[0][0, 0].numel() < 2:", "or False:", "test_layers_are_those_with_spatial_extent"),
    gradcam("if any(m is layer for m in model.modules()): return layer", "if True: return layer", "test_bad_input_is_named"),
    gradcam("if images.shape[1] != channels: raise", "if False: raise", "test_bad_input_is_named"),
    gradcam("or not x.isfinite().all(): raise", "or False: raise", "test_bad_input_is_named"),
    gradcam('if hasattr(model, "img_size") and x.abs().max() > 1.001:', "if False:", "test_bad_input_is_named"),
    gradcam("if batch_size < 1: raise", "if False: raise", "test_bad_input_is_named"),
    gradcam("or score.shape != output.shape[:1]:", "or False:", "test_bad_input_is_named"),
    gradcam("and output.numel() == len(output):", "and True:", "test_a_network_without_a_single_logit_needs_a_target"),
    gradcam("    if grad is None: raise", "    if False: raise", "test_a_network_without_a_single_logit_needs_a_target"),
    gradcam("if images.shape[0] != maps.shape[0] or images.shape[2:] != maps.shape[1:]:", "if False:", "test_overlay_and_table_take_grey_images_and_floats"),
    # where the heat lies
    gradcam(".clamp(min=0)\n    return cover", "\n    return cover", "test_boxes_cover_pixels_in_part_and_end_at_the_border"),
    gradcam(".sum(1) / total / area", ".sum(1) / total", "test_heat_share_by_hand"),
    gradcam("used = ~(black | without)", "used = ~without", "test_elsewhere_is_the_mean_over_the_other_images"),
    gradcam("fair = (masks / area[:, None])[used]", "fair = (masks / area[used].mean())[used]", "test_elsewhere_is_the_mean_over_the_other_images"),
    gradcam("@ fair.sum(0) / total - ratio) / (len(fair) - 1)", "@ fair.sum(0) / total) / len(fair)", "test_elsewhere_is_the_mean_over_the_other_images"),
    gradcam("if masks.shape != maps.shape:", "if False:", "test_shares_of_what_does_not_fit_are_refused"),
    gradcam("if not (maps >= 0).all(): raise", "if False: raise", "test_shares_of_what_does_not_fit_are_refused"),
    gradcam("[(1 - level) / 2, (1 + level) / 2]", "[.005, .995]", "test_the_interval_covers_as_often_as_it_says"),
    gradcam("values = values[~values.isnan()].double()", "values = values.nan_to_num().double()", "test_the_interval_covers_as_often_as_it_says"),
    gradcam("r = (below + upto).double()", "r = below.double()", "test_rank_correlation_equals_scipy_with_ties"),
    gradcam('"test" if has_split(c.data, "test") else "train"', '"train"', "test_explain_takes_held_out_images_and_samples_where_they_are_gone"),
    gradcam("        except InputError: name += f", "        except ZeroDivisionError: name += f", "test_explain_takes_held_out_images_and_samples_where_they_are_gone"),
    gradcam("inside = self.data.masks if self.data.masks is not None else self.data.boxes", "inside = self.data.boxes", "test_explain_prefers_masks_to_boxes_and_counts_what_it_says"),
    gradcam("sign, word = (-1,", "sign, word = (1,", "test_explain_prefers_masks_to_boxes_and_counts_what_it_says"),
    # latents
    latent("torch.where(sin > 1e-9, across / sin.clamp_min(1e-9), _right_angle(u))", "across / sin", "test_slerp_survives_every_pair_of_directions"),
    latent("_right_angle(u))", "u)", "test_slerp_survives_every_pair_of_directions"),
    latent("z = torch.lerp(long_a, long_b, t) *", "z = long_a *", "test_slerp_survives_every_pair_of_directions"),
    latent("angle = t * torch.atan2(sin, cos)", "angle = t * torch.acos(cos) ** 2", "test_slerp_turns_by_equal_angles"),
    latent("    u, v = torch.where(long_a > 0, u, v), torch.where(long_b > 0, v, u)", "    u, v = u, v", "test_slerp_with_the_origin_and_in_one_dimension_is_finite"),
    latent("return torch.where(t == 0, a, torch.where(t == 1, b, z.to(a.dtype)))", "return z.to(a.dtype)", "test_walks_meet_their_points_exactly"),
    latent("return torch.lerp(a, b, torch.as_tensor(t, dtype=a.dtype, device=a.device))", "return a + t * (b - a)", "test_walks_meet_their_points_exactly"),
    latent("device=points.device)[:, None] / steps", "device=points.device)[:, None] / max(1, steps - 1)", "test_walks_meet_their_points_exactly"),
    latent("torch.lerp(upper, lower, y) /", "long_a /", "test_a_plane_keeps_the_lengths_of_its_corners_and_survives_the_origin"),
    latent(".clamp_min(1e-12))", ")", "test_a_plane_keeps_the_lengths_of_its_corners_and_survives_the_origin"),
    latent("x.reshape(-1, 1).to(a.device), y.reshape(-1, 1)", "y.reshape(-1, 1).to(a.device), x.reshape(-1, 1)", "test_a_plane_keeps_the_lengths_of_its_corners_and_survives_the_origin"),
    latent("quantile = (1 - high) + torch.special.ndtr(z.double()) * (2 * high - 1)", "quantile = torch.special.ndtr(z.double()) * high", "test_truncation_has_the_truncated_distribution"),
    latent("return torch.special.ndtri(quantile).clamp(-limit, limit)", "return z.clamp(-limit, limit)", "test_truncation_has_the_truncated_distribution"),
    latent("    if not limit > 0: raise", "    if limit <= 0: raise", "test_grey_images_and_bad_input"),
    latent("torch.minimum(plain, mirror).topk", "plain.topk", "test_nearest_images_do_not_depend_on_the_batch"),
    latent("found.flip(-1), found)", "found, found)", "test_a_mirrored_neighbour_is_given_mirrored"),
    latent("(mirror < plain).gather(1, index)", "(mirror < plain)[:, :k]", "test_a_mirrored_neighbour_is_given_mirrored"),
    # widgets
    widgets('{"slerp": slerp, "lerp": lerp}[state.path](a, b, state.t)', "slerp(a, b, 1 - state.t)", "test_the_picture_is_the_generators_own_pixels"),
    widgets("lambda: self._move(t=self.slider.value / 100, spot=None)", "lambda: self._move(t=self.slider.value / 100)", "test_every_control_gives_what_render_gives"),
    widgets("        self.pad.value = self.scene.pad(self.state)\n", "", "test_every_control_gives_what_render_gives"),
    widgets("        if self.found.value: self.found.value, self.message.value", "        if False: self.found.value, self.message.value", "test_nearest_real_images_on_demand"),
    widgets("if (name := f\"{stem}-{i}{suffix}\") not in taken", "if (name := f\"{stem}-{i}{suffix}\")", "test_png_and_gif_are_saved_beside_what_is_there"),
    widgets("        self._quiet = True  # marking", "        self._quiet = False  # marking", "test_long_runs_keep_a_short_strip_and_the_slider_stays_where_it_is"),
    widgets("len(epochs) - 1 if was_last or", "len(epochs) - 1 if True or", "test_a_reader_in_the_middle_is_not_moved"),
    widgets("len(epochs) - 1 if was_last or", "0 if False or", "test_a_growing_run_is_followed"),
    widgets("max((e for e in self.recorded[i] if e <= epoch)", "max((e for e in self.recorded[i])", "test_two_runs_share_one_slider"),
    widgets("transform((epoch, 0))[0])", "transform((epoch + 1, 0))[0])", "test_the_cursor_stands_at_its_epoch"),
    widgets("pixels, axes = plots[0].copy(), plots[1]", "pixels, axes = plots", "test_the_cursor_stands_at_its_epoch"),
    widgets("except (InputError, OSError) as e: self.say(e)", "except KeyError as e: self.say(e)", "test_png_and_gif_are_saved_beside_what_is_there"),
    widgets("        for r in self.runs: r.samples()  #", "        #", "test_bad_input_is_one_line"),
    widgets("return html.escape(x if isinstance(x, str) else json.dumps(x), quote=True)", "return x if isinstance(x, str) else json.dumps(x)", "test_captions_are_escaped_and_the_size_is_kept"),
    widgets("for quality in (90, 80, 70, 55, 40):", "for quality in (90,):", "test_captions_are_escaped_and_the_size_is_kept"),
]


def limit_memory():
    """A mutant that asks for a giant must not take the machine with it."""
    resource.setrlimit(resource.RLIMIT_DATA, (8 << 30, 8 << 30))


def verdict(mutant):
    source = (ROOT / mutant.file).read_text(encoding="utf-8")
    if (found := source.count(mutant.old)) != 1: return f"NO FIT: the edit stands {found} times in the file"
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "copy"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "_*s", "__pycache__", "nbs", "build", "*.egg-info", "ready"))
        (copy / mutant.file).write_text(source.replace(mutant.old, mutant.new), encoding="utf-8")
        done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", mutant.test], cwd=copy, capture_output=True,
                              text=True, env={**os.environ, "PYTHONPATH": str(copy)}, preexec_fn=limit_memory)
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
