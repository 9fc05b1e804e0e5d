"""Pixel digests that are known without a release: of the configurations whose bits are the same on every machine."""

from collections.abc import Mapping

# By the digest of the test images: CIFAR-10 (JPEG copy), seed 0, version 1 of the dataset.
KNOWN_PIXELS: Mapping[str, Mapping[str, str]] = {
    "0547cc31918806cfbe43148255e0722b32db43ad8381fe43f9ac71e994633bc6": {
        "clean": "58e7baca6040a4932e104f772707b4d4e1a88ef83866747abcb3a8f92bd103b6",
        "ops": "4e2ae4087c6620b28732637cf57637f7223a4069604d23732fd64bad9442ebbc",
        "ops-2": "adffa8c1f761cb4d3aa46897fd71dca0db752d9897caeeeb4c857e9a5e8aab3a",
        "ops-3": "f96c1a4863f5422b8ed285d8ec0fe951a12f53ec0c3cf0904877710be58d3d97",
        "ops-4": "edecf47df6f3b49d5d03aca58a551256ebb00104cf177452c65132551c7f07db",
        "ops-std": "6b2ddb91f3587cd686fc35efe646dfec8193ba69ebbed991b58b3c5d8aa6338f",
        "random-pixel": "b705075bfd6d8e99d396ff7d6426faa599f1e711b254fa4d470e08be3b4427c4",
        "lsp": "2ca060e27717624d5f6cd0f1cd82735ce29db93ba0949750a962b4de11d91d99",
        "lsp-ops": "7679ab0d1c239d600a9b697730c2c21ffe02ab20baa4c27789097fe1ca702d8d",
        "ar": "2e6fd0b42a30e1e4323d61e2698af829f5f3605bce7b93dd9788427b7cbdec55",
        "ar-ops": "9fe801bab7020e7fe3384d5568413b2549a736a69bbb6239db310342f313311a",
        "cuda": "e05ca274e8fc3e28ed912e13966cfcf208f6b2a6a96489b644a987f7f61cd24b",
        "cuda-ops": "e544af826b0db8fa809b96db51ad6a1bf0824d9951160ce71b34e3f7e2711053",
        "random-classwise": "ec712daddeca8ab8cdfb6280793da07a4368ebfe7f5aa54a0904f5abb11e2ffc",
        "random-classwise-ops": "1063388f27dd813c8bf3ec487e0f727e82fed2deb273ed6b07fcdc6e7980db2f",
        "random-samplewise": "4002a7afcc9f30bbd5be35b77a112a82c51dc317647b8d1dcb6221894c5658d9",
        "random-samplewise-ops": "1b6130fdb13f03a26b7fb78504a45942bacd990ec2bea6b4b8dfa1e96929b146",
        "ops-spread-2": "20c381499ba541c0302263aff27e3020862981daf49f6dd910647b5c39a910ce",
        "ops-spread-3": "d00d9d8898e70adab3c5194cb669db4257eb3de990d2ec65651d34db47d8574c",
        "ops-spread-4": "58aef97dec57aefc6295a3c35f1273859777d1445898c9f5014121afae91a3ad",
        "lsp-ops-spread-2": "f1c3ed9a8487c38446fe737ecf7069b39c473609fc7f3e2846f4988c8ba85c59",
        "ar-ops-spread-2": "e16aa9d28638a004db5c1f6b479bcb11fb33b01c8b14670d8f070bfbb4f97ef7",
        "cuda-ops-spread-2": "3c644858becb8d3b8569c0a7417ad8a35b7ad8ea07b09611d9d2c8a391d7deee",
        "random-classwise-ops-spread-2": "6630b106c3d8a92b22ed93a4d711f0e89b1e0e9c07490046faa1b614ce1712bf",
        "random-samplewise-ops-spread-2": "2e630b0325015df84e7a7db329975d744643df6442a743b69a142562f17354ae",
        "ops-patches-2": "36d383c56636adb91aaf4037daa862e2a3cf72db036100009c3e205841431d81",
        "lsp-ops-patches-2": "db6bdd3639835c931feca4db6dddb1f0ebd6d32a6cd151148dd0973dddee6598",
        "ar-ops-patches-2": "4a1652505a8e063ec315f9ee83b6c25f6922c3f40a334f6c810bea978580f331",
        "cuda-ops-patches-2": "4893eed7ea8650d83795be10055d17c955679f471f625b0625b17789efae6a65",
        "random-classwise-ops-patches-2": "3787ec4c347b23ed8ed71ecf3031442c48444731366d103508583e775e981dd7",
        "random-samplewise-ops-patches-2": "6b70b25ef92d764a280344dd243286793ee1626540847c448960dd1b9764a5d4",
    },
}
